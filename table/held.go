package table

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
)

// held returns the outlet of a table that keeps its rows in a store, for changes that the store has already: out itself, or one that holds
// them back until the commit if the user said so. get reads the table's rows; nil for stores
// that drop rows by themselves, whose newest values are kept. With s.UntilCommit the changes given to it say in
// HasOld whether there was such a row before, and Old is that row's value where want says that old values are wanted.
func held[K, V any](env graph.Env, n *graph.Node, s storespec.Settings, name string, with serdes[K, V], want bool, get wire.Getter[K, V], out wire.TableOutlet[K, V]) (wire.TableOutlet[K, V], error) {
	if !s.UntilCommit {
		return out, nil
	}
	h, err := op.OpenHold(name, with.key, with.value, get)
	if err != nil {
		return nil, err
	}
	place := graph.PlaceOf(env)
	h.Old = want
	h.At = func(ms int64) {
		place.Node = n
		env.RecordAt(ms)
	}
	early := env.OnCommit(n, func() error { return h.Flush(out) })
	return func(c wire.Change[K, V]) error {
		place.Node = n
		full, err := h.Change(c)
		if err != nil {
			return refused(env, n, name, err)
		}
		if full {
			early()
		}
		return nil
	}, nil
}
