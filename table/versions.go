package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
)

// keepVersions is keep for a table whose store keeps versions.
func keepVersions[K, V any](c *plan.Compile, n *plan.Node, s storespec.Settings, with serdes[K, V], err error) ([]string, serdes[K, V], error) {
	t := n.Table
	added := c.AddStoreOf(graph.Store{Name: t.Store, Kind: graph.Versioned, Retention: t.History}, s)
	t.Stores = []string{t.Store}
	t.Getter = func(env graph.Env) (wire.Getter[K, V], error) {
		rows, err := openVersions(env, t.Store, with)
		if err != nil {
			return nil, err
		}
		return rows.Get, nil
	}
	t.AsOf = func(env graph.Env) (wire.AsOf[K, V], error) {
		rows, err := openVersions(env, t.Store, with)
		if err != nil {
			return nil, err
		}
		return rows.AsOf, nil
	}
	return t.Stores, with, errors.Join(err, added)
}

func openVersions[K, V any](env graph.Env, name string, with serdes[K, V]) (*op.VersionRows[K, V], error) {
	h, err := env.Store(name)
	if err != nil {
		return nil, err
	}
	return op.OpenVersions(name, h.Versions, with.key, with.value)
}

// versionInlet keeps changes as versions and sends on those that the store took. Those too old for its history are counted.
func versionInlet[K, V any](env graph.Env, n *graph.Node, t *plan.Table, with serdes[K, V], out wire.TableOutlet[K, V]) (wire.TableOutlet[K, V], error) {
	rows, err := openVersions(env, t.Store, with)
	if err != nil {
		return nil, err
	}
	u := &op.UpsertVersions[K, V]{Rows: rows, Old: t.WantOld}
	place := graph.PlaceOf(env)
	return func(c wire.Change[K, V]) error {
		place.Node = n // serdes are the user's code
		rows.Keep(c.Headers)
		c, kept, err := u.Change(c)
		switch {
		case err != nil:
			return refused(env, n, t.Store, err)
		case !kept:
			env.Drop(n, graph.Expired)
			return nil
		}
		return out(c)
	}, nil
}
