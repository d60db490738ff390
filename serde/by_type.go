package serde

import (
	"fmt"
	"reflect"
	"sync"
	"time"
)

// Registry finds serdes by type, for steps of a topology whose types no topic names. The zero
// Registry knows the basic types of this package, and so does a nil one. Fill it before Build; it
// is safe for concurrent use.
type Registry struct {
	// Fallback makes a serde for every type that is neither registered nor basic, as JSONCodec does.
	// Defaults to nil: no such serde, and Build reports the type.
	Fallback Codec

	mu    sync.RWMutex
	types map[reflect.Type]any // Serde[T] by T
}

// Register makes s the serde of T in r. It replaces an earlier or a basic one.
func Register[T any](r *Registry, s Serde[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.types == nil {
		r.types = map[reflect.Type]any{}
	}
	r.types[reflect.TypeFor[T]()] = s
}

// Find returns the serde of T: the one registered for exactly this type, or else the basic one, or
// else one of r.Fallback. If there is none, the error names the type and the remedies.
func Find[T any](r *Registry) (Serde[T], error) {
	t := reflect.TypeFor[T]()
	if s, ok := r.registered(t); ok {
		if s, ok := s.(Serde[T]); ok {
			return s, nil
		}
		return nil, fmt.Errorf("the serde registered for type %s is nil", t)
	}
	if s, ok := basic[t].(Serde[T]); ok {
		return s, nil
	}
	if r != nil && r.Fallback != nil {
		return fromCodec[T](r.Fallback), nil
	}
	return nil, fmt.Errorf("no serde for type %s%s: name one with WithSerdes, add it with serde.Register, or set "+
		"Registry.Fallback (serde.JSONCodec takes most types)", t, hint(t))
}

func (r *Registry) registered(t reflect.Type) (any, bool) {
	if r == nil {
		return nil, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	s, ok := r.types[t]
	return s, ok
}

var basic = map[reflect.Type]any{
	reflect.TypeFor[Void]():      None,
	reflect.TypeFor[string]():    String,
	reflect.TypeFor[[]byte]():    Bytes,
	reflect.TypeFor[bool]():      Bool,
	reflect.TypeFor[int16]():     Int16,
	reflect.TypeFor[int32]():     Int32,
	reflect.TypeFor[int64]():     Int64,
	reflect.TypeFor[float32]():   Float32,
	reflect.TypeFor[float64]():   Float64,
	reflect.TypeFor[[16]byte]():  UUID,
	reflect.TypeFor[time.Time](): Time,
}

// hint returns advice for types that are easily mistaken for basic ones. Kafka has no int of
// machine size, and a user's own type is not its underlying type: a Serde[string] is no serde for a
// named string type.
func hint(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Uint, reflect.Uint32, reflect.Uint64:
		return " (int64 has one)"
	}
	for b := range basic {
		if t.Kind() == b.Kind() && t != b && t.ConvertibleTo(b) && t.Kind() != reflect.Struct {
			return fmt.Sprintf(" (%s has one, but %s is another type)", b, t)
		}
	}
	return ""
}
