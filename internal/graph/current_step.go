package graph

// CurrentStep is the step whose code runs on a task's goroutine. The error of a panic names it. A
// step sets Node before it calls a user's function: one store per record, where a deferred recover
// in each step would cost ten times that. Steps without user functions need not.
type CurrentStep struct{ Node *Node }

// StepCountOf returns where a step counts the records that come to it: it belongs to the task's goroutine. Where env
// is no task's, it is a number that nobody reads.
func StepCountOf(env Env, n *Node) *int64 {
	if e, ok := env.(interface{ StepCount(*Node) *int64 }); ok {
		return e.StepCount(n)
	}
	return new(int64)
}

// FullName returns the name of an internal topic in Kafka, under which schemas are registered.
// Where env is no task's it is name itself.
func FullName(env Env, name string) string {
	if e, ok := env.(interface{ FullName(string) string }); ok {
		return e.FullName(name)
	}
	return name
}

// CurrentStepOf returns the current step of a task. Where env is no task's, it is one that nobody
// reads.
func CurrentStepOf(env Env) *CurrentStep {
	if e, ok := env.(interface{ CurrentStep() *CurrentStep }); ok {
		return e.CurrentStep()
	}
	return new(CurrentStep)
}
