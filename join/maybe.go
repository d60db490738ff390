package join

// Maybe is a side of a join that may be absent. Use OK: a V that is the zero value may be there.
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
