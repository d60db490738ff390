package join

// Maybe is one side of a join that may be absent. Check OK, not V: a present V may be the zero
// value.
type Maybe[T any] struct {
	V  T // the zero value when absent
	OK bool
}

// Or returns the value, or other where it is absent.
func (m Maybe[T]) Or(other T) T {
	if m.OK {
		return m.V
	}
	return other
}
