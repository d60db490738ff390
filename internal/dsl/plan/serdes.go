package plan

import (
	"fmt"
	"reflect"

	"github.com/millstream-go/millstream/serde"
)

// SetSerdes is the WithSerdes method of handles; nil leaves a serde as it is. key and value are
// serde.Serde of the node's types.
func (n *Node) SetSerdes(key, value any) {
	if n == nil {
		return
	}
	if key != nil {
		n.keySerde = key
	}
	if value != nil {
		n.valueSerde = value
	}
}

// InheritKeySerde has n use the key serde of its input i if the types are equal.
func (n *Node) InheritKeySerde(i int) *Node {
	if n != nil {
		n.keySerdeFrom = n.inputs[i].Node
	}
	return n
}

// InheritValueSerde has n use the value serde of its input i if the types are equal.
func (n *Node) InheritValueSerde(i int) *Node {
	if n != nil {
		n.valueSerdeFrom = n.inputs[i].Node
	}
	return n
}

// KeySerde finds the serde of node's keys: set explicitly, inherited from an input of the same type,
// or found by type.
func KeySerde[K any](node *Node) (serde.Serde[K], error) {
	t := reflect.TypeFor[K]()
	for from := node; from != nil && from.keyType == t; from = from.keySerdeFrom {
		if from.keySerde != nil {
			return from.keySerde.(serde.Serde[K]), nil
		}
	}
	return serdeByType[K](node, "keys", "WithSerdes(key, nil)")
}

// ValueSerde finds the serde of node's values, as KeySerde does.
func ValueSerde[V any](node *Node) (serde.Serde[V], error) {
	t := reflect.TypeFor[V]()
	for from := node; from != nil && from.valueType == t; from = from.valueSerdeFrom {
		if from.valueSerde != nil {
			return from.valueSerde.(serde.Serde[V]), nil
		}
	}
	return serdeByType[V](node, "values", "WithSerdes(nil, value)")
}

// serdeByType finds a serde by type. A missing one is reported as n's mistake, whichever step has
// asked: n is where a serde can be set.
func serdeByType[T any](n *Node, what, how string) (serde.Serde[T], error) {
	s, err := serde.Find[T](n.builder.Registry)
	if err != nil {
		return nil, n.err(fmt.Errorf("no serde for its %s, which a step after it writes to a topic or a store: %w; "+
			"give one with %s on the handle it returns", what, err, how))
	}
	return s, nil
}

// IsNilSerde reports whether s is no serde: nil, or an interface that holds nil.
func IsNilSerde(s any) bool {
	if s == nil {
		return true
	}
	v := reflect.ValueOf(s)
	switch v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Interface:
		return v.IsNil()
	}
	return false
}

// ExplicitKeySerde returns the serde that was set for n's keys, nil when none was.
func (n *Node) ExplicitKeySerde() any { return n.keySerde }
