package table

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/spec"
)

// holdUntilCommit returns the outlet for changes of a table that are already in its store: out
// itself, or, with the option UntilCommit, an outlet that sends only the newest change of each key,
// at the commit.
//
// get reads the rows of the table. It is nil for stores that delete rows by themselves; the buffer
// then keeps the newest values itself. With UntilCommit, a change that is passed to the outlet has
// HasOld set if its row existed before, and the old value only if oldValues is true.
func holdUntilCommit[K, V any](
	env graph.Env, node *graph.Node, settings spec.StoreSettings, name string, rowSerdes serdes[K, V], oldValues bool,
	get wire.Getter[K, V], out wire.TableOutlet[K, V],
) (wire.TableOutlet[K, V], error) {
	if !settings.UntilCommit {
		return out, nil
	}
	updates, err := operator.NewUpdateBuffer(name, rowSerdes.key, rowSerdes.value, get,
		wire.NewSite(node, env).Stores(name))
	if err != nil {
		return nil, err
	}
	site := wire.NewSite(node, env)
	updates.Old = oldValues
	// Steps behind this one are called at the commit, when no record is being processed. What they
	// forward without a time gets the time of the row, and a panic names the right step.
	updates.BeforeEmit = func(ms int64) {
		site.Resume()
		env.SetRecordTime(ms)
	}
	flushSoon := env.OnCommit(node, func() error { return updates.Flush(out) })
	return func(c wire.Change[K, V]) error {
		site.Resume()
		full, err := updates.Change(c)
		if err != nil {
			return retry.IgnoreSkipped(err)
		}
		// The buffer is in memory, so it cannot always wait for the next commit. It is flushed as soon as
		// the current record is done.
		if full {
			flushSoon()
		}
		return nil
	}, nil
}
