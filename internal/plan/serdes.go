package plan

import (
	"fmt"
	"reflect"

	"github.com/millstream-go/millstream/serde"
)

// SetSerdes is the WithSerdes method of handles: nil keeps what is there. key and value are serde.Serde of the node's types.
func (n *Node) SetSerdes(key, value any) {
	if n == nil {
		return
	}
	if key != nil {
		n.key = key
	}
	if value != nil {
		n.value = value
	}
}

// KeepKey says that n's keys are those of its input i: their serde is kept, when the type is.
func (n *Node) KeepKey(i int) *Node {
	if n != nil {
		n.keyFrom = n.inputs[i].Node
	}
	return n
}

// KeepValue says that the serde of n's values is that of its input i, when the type is.
func (n *Node) KeepValue(i int) *Node {
	if n != nil {
		n.valueFrom = n.inputs[i].Node
	}
	return n
}

// KeySerde finds the serde of n's keys: given, kept from an input of the same type, or found by type.
func KeySerde[K any](n *Node) (serde.Serde[K], error) {
	t := reflect.TypeFor[K]()
	for at := n; at != nil && at.keyType == t; at = at.keyFrom {
		if at.key != nil {
			return at.key.(serde.Serde[K]), nil
		}
	}
	return found[K](n, "keys", "WithSerdes(key, nil)")
}

// ValueSerde finds the serde of n's values.
func ValueSerde[V any](n *Node) (serde.Serde[V], error) {
	t := reflect.TypeFor[V]()
	for at := n; at != nil && at.valueType == t; at = at.valueFrom {
		if at.value != nil {
			return at.value.(serde.Serde[V]), nil
		}
	}
	return found[V](n, "values", "WithSerdes(nil, value)")
}

// found looks the serde up by type. The mistake, if there is one, is that of n, where a serde can be given, whichever step asked.
func found[T any](n *Node, what, how string) (serde.Serde[T], error) {
	s, err := serde.Find[T](n.b.Registry)
	if err != nil {
		return nil, n.err(fmt.Errorf("no serde for its %s, which a step after it writes to a topic or a store: %w; give one with %s on the handle it returns", what, err, how))
	}
	return s, nil
}

// IsNilSerde says that x is no serde: nil, or an interface that holds nil.
func IsNilSerde(x any) bool {
	if x == nil {
		return true
	}
	v := reflect.ValueOf(x)
	switch v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Interface:
		return v.IsNil()
	}
	return false
}

// GivenKey returns the serde that n itself was given for its keys, nil when it has none of its own.
func (n *Node) GivenKey() any { return n.key }
