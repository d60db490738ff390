package graph

// Place says whose code runs on a task's goroutine, so that a panic can name its step. A step that calls a user's function sets
// Node before: one store a record, where a deferred recover of its own would cost ten times that. Steps that call none need not.
type Place struct{ Node *Node }

// PlaceOf returns the place of a task; one that nobody reads where env is not a task's.
func PlaceOf(env Env) *Place {
	if e, ok := env.(interface{ Place() *Place }); ok {
		return e.Place()
	}
	return new(Place)
}
