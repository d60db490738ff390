package spec

import "github.com/millstream-go/millstream/serde"

// TableSerde is the serde of the keys or values of a table, in the arguments of a constructor of
// references (store.NewTimestamped, store.NewWindow and so on): the reference is one to the store of
// that table then. The table has all settings of the store, so the constructor uses no other
// argument but the name.
//
// It is a serde, rather than an option or a constructor of package store, so that the compiler
// checks its type and users do not see it. The serde itself is a function, since a table may inherit
// it from steps that are only known when the topology is built.
type TableSerde[T any] struct {
	Table any // a *plan.Node; not nil
	Serde func() (serde.Serde[T], error)
}

// Append implements serde.Serde.
func (s TableSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	in, err := s.Serde()
	if err != nil {
		return nil, err
	}
	return in.Append(dst, v)
}

// Decode implements serde.Serde.
func (s TableSerde[T]) Decode(b []byte) (v T, err error) {
	in, err := s.Serde()
	if err != nil {
		return v, err
	}
	return in.Decode(b)
}

// TableOf returns the table that a serde is of, nil where it is of none.
func TableOf[T any](s serde.Serde[T]) any {
	if s, ok := s.(TableSerde[T]); ok {
		return s.Table
	}
	return nil
}

// Resolve returns how to get the serde itself once the topology has been built.
func Resolve[T any](s serde.Serde[T]) func() (serde.Serde[T], error) {
	if s, ok := s.(TableSerde[T]); ok {
		return s.Serde
	}
	return func() (serde.Serde[T], error) { return s, nil }
}
