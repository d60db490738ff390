package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/spec"
)

// declareVersionedStore is declareStore for a table whose store keeps versions.
func declareVersionedStore[K, V any](
	c *plan.Compiler, n *plan.Node, s spec.StoreSettings, rowSerdes serdes[K, V], err error,
) ([]string, serdes[K, V], error) {
	planTable := n.Table
	st := graph.Store{Name: planTable.Store, Kind: graph.Versioned, Retention: planTable.History}
	storeErr := c.AddStoreOfKind(st, s)
	c.SetRowFormat(planTable.Store, "", rowSerdes.key, rowSerdes.value)
	planTable.Stores = []string{planTable.Store}
	planTable.Getter = func(env graph.Env) (wire.Getter[K, V], error) {
		rows, err := openVersionedRows(env, planTable.Store, rowSerdes, wire.Reads(env))
		if err != nil {
			return nil, err
		}
		return rows.Get, nil
	}
	planTable.AsOf = func(env graph.Env) (wire.AsOf[K, V], error) {
		rows, err := openVersionedRows(env, planTable.Store, rowSerdes, wire.Reads(env))
		if err != nil {
			return nil, err
		}
		return rows.AsOf, nil
	}
	return planTable.Stores, rowSerdes, errors.Join(err, storeErr)
}

func openVersionedRows[K, V any](
	env graph.Env, name string, rowSerdes serdes[K, V], try retry.Func,
) (*operator.VersionRows[K, V], error) {
	handle, err := env.Store(name)
	if err != nil {
		return nil, err
	}
	return operator.OpenVersions(name, handle.Versions, rowSerdes.key, rowSerdes.value, try)
}

// versionInlet makes the inlet that stores changes as versions and sends on those that were stored. A
// change that is too old for the store's history is dropped and counted.
func versionInlet[K, V any](
	env graph.Env, node *graph.Node, planTable *plan.Table, rowSerdes serdes[K, V], out wire.TableOutlet[K, V],
) (wire.TableOutlet[K, V], error) {
	rows, err := openVersionedRows(env, planTable.Store, rowSerdes, wire.NewSite(node, env).Stores(planTable.Store))
	if err != nil {
		return nil, err
	}
	upsert := &operator.UpsertVersions[K, V]{Rows: rows, Old: planTable.OldValues, Filtered: planTable.Filtered}
	site := wire.NewSite(node, env)
	return func(change wire.Change[K, V]) error {
		site.Resume() // serdes are the user's code
		rows.SetHeaders(change.Headers)
		change, stored, err := upsert.Change(change)
		switch {
		case err != nil:
			return retry.IgnoreSkipped(err)
		case !stored && upsert.Unchanged(change):
			return nil // a filter's tombstone for a row that was not there: nothing was lost, so nothing is counted
		case !stored:
			site.Drop(graph.Expired)
			return nil
		}
		return out(change)
	}, nil
}
