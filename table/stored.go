package table

import (
	"cmp"
	"errors"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// stored makes the node of a table that keeps its rows in a store of that name, or of the one that the options give.
func stored[K, V any](b *plan.Builder, opname, kind, name string, opts []store.Option, allowed []string, inputs ...plan.Out) (*plan.Node, storespec.Settings) {
	n := plan.New[K, V](b, opname, kind, inputs...)
	if n == nil {
		return nil, storespec.Settings{}
	}
	n.GiveName(name)
	n.CanFail = true
	s, err := storespec.Read(opts, allowed...)
	if err != nil {
		n.Errorf("%w", err)
	}
	t := &plan.Table{Store: cmp.Or(s.Name, name), Keeps: !s.OnDemand, Versioned: s.Versions > 0, History: s.Versions}
	t.AskRows = func() { t.Keeps = true }
	t.AskOld = func(force bool) bool {
		if !t.Keeps && !force {
			return false
		}
		t.Keeps, t.WantOld = true, true
		return true
	}
	n.Table = t
	return n, s
}

// The options that stores of tables take, those of tables that can be held back until the commit, those of tables that may keep versions,
// too, and those of tables that can also do without a store.
var (
	bufferOptions   = []string{storespec.InMemory, storespec.NoChangelog, storespec.TopicConfig}
	storeOptions    = append(slices.Clip(bufferOptions), storespec.Headers, storespec.Name)
	heldOptions     = append(slices.Clip(storeOptions), storespec.UntilCommit)
	versionOptions  = append(slices.Clip(heldOptions), storespec.Versions)
	optionalOptions = append(slices.Clip(versionOptions), storespec.OnDemand)
)

// serdes are how a table's rows are written.
type serdes[K, V any] struct {
	key   serde.Serde[K]
	value serde.Serde[V]
}

// keep makes the store of n's table and says how its rows are read. It returns the names of the stores that n uses.
func keep[K, V any](c *plan.Compile, n *plan.Node, s storespec.Settings) ([]string, serdes[K, V], error) {
	var with serdes[K, V]
	var errs [3]error
	with.key, errs[0] = plan.KeySerde[K](n)
	with.value, errs[1] = plan.ValueSerde[V](n)
	if n.Table.Versioned {
		return keepVersions(c, n, s, with, errors.Join(errs[:]...))
	}
	errs[2] = c.AddStore(n.Table.Store, s)
	n.Table.Stores = []string{n.Table.Store}
	n.Table.Getter = func(env graph.Env) (wire.Getter[K, V], error) {
		rows, err := open(env, n.Table.Store, with)
		if err != nil {
			return nil, err
		}
		return rows.Get, nil
	}
	return n.Table.Stores, with, errors.Join(errs[:]...)
}

func open[K, V any](env graph.Env, name string, with serdes[K, V]) (*op.Rows[K, V], error) {
	h, err := env.Store(name)
	if err != nil {
		return nil, err
	}
	return op.Open(name, h.Bytes, with.key, with.value)
}

// refused deals with an error of package op: a record that cannot be stored goes to the policy, as one that cannot be written to
// the store's changelog; the rest is fatal.
func refused(env graph.Env, n *graph.Node, name string, err error) error {
	var r *op.RecordError
	if !errors.As(err, &r) {
		return err
	}
	_, err = env.Fail(n, graph.Failure{Phase: graph.Produce, Err: r.Err, Attempt: 1, Topic: name + "-changelog"})
	return err
}
