package graph

// Place says whose code runs on a task's goroutine, so that a panic can name its step. A step that calls a user's function sets
// Node before: one store a record, where a deferred recover of its own would cost ten times that. Steps that call none need not.
type Place struct{ Node *Node }

// FullName returns the name that an internal topic has in Kafka, which schemas are registered under; name itself where env is not a task's.
func FullName(env Env, name string) string {
	if e, ok := env.(interface{ FullName(string) string }); ok {
		return e.FullName(name)
	}
	return name
}

// PlaceOf returns the place of a task; one that nobody reads where env is not a task's.
func PlaceOf(env Env) *Place {
	if e, ok := env.(interface{ Place() *Place }); ok {
		return e.Place()
	}
	return new(Place)
}
