package table

import (
	"cmp"
	"errors"
	"slices"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// storedNode makes the node of a table with a store of the given name, or of the name that the
// options set.
func storedNode[K, V any](
	b *plan.Builder, opname, kind, name string, opts []store.Option, allowed []string, inputs ...plan.Out,
) (*plan.Node, spec.StoreSettings) {
	node := plan.New[K, V](b, opname, kind, inputs...)
	if node == nil {
		return nil, spec.StoreSettings{}
	}
	node.FixName(name)
	node.CanFail = true
	settings, err := spec.ReadStoreOptions(opts, allowed...)
	if err != nil {
		node.Errorf("%w", err)
	}
	planTable := &plan.Table{Store: cmp.Or(settings.Name, name), HasStore: !settings.OnDemand,
		Versioned: settings.Versions > 0, History: settings.Versions}
	// With OnDemand the table has a store only if a later step requires its rows or, with force, old
	// values. Without force a step uses old values if they cost nothing: it must not create a store.
	planTable.RequireRows = func() { planTable.HasStore = true }
	planTable.RequireOldValues = func(force bool) bool {
		if !planTable.HasStore && !force {
			return false
		}
		planTable.HasStore, planTable.OldValues = true, true
		return true
	}
	node.Table = planTable
	return node, settings
}

// The options that each kind of table accepts. Each list extends the one before: buffers, tables with
// a store, tables whose changes can wait for the commit, tables that can keep versions, and tables
// that can do without a store.
var (
	bufferOptions      = []string{spec.OptionInMemory, spec.OptionNoChangelog, spec.OptionTopicConfig}
	storeOptions       = append(slices.Clip(bufferOptions), spec.OptionKeepHeaders, spec.OptionName)
	untilCommitOptions = append(slices.Clip(storeOptions), spec.OptionUntilCommit)
	versionOptions     = append(slices.Clip(untilCommitOptions), spec.OptionVersions)
	optionalOptions    = append(slices.Clip(versionOptions), spec.OptionOnDemand)
)

// serdes are the serdes of a table's rows.
type serdes[K, V any] struct {
	key   serde.Serde[K]
	value serde.Serde[V]
}

// declareStore declares the store of the node's table and how its rows are read. It returns the
// names of the stores that the node uses.
func declareStore[K, V any](
	compiler *plan.Compiler, node *plan.Node, settings spec.StoreSettings,
) ([]string, serdes[K, V], error) {
	var rowSerdes serdes[K, V]
	var errs [3]error
	rowSerdes.key, errs[0] = plan.KeySerde[K](node)
	rowSerdes.value, errs[1] = plan.ValueSerde[V](node)
	if node.Table.Versioned {
		return declareVersionedStore(compiler, node, settings, rowSerdes, errors.Join(errs[:]...))
	}
	errs[2] = compiler.AddTimestampedStore(node.Table.Store, settings)
	compiler.SetRowFormat(node.Table.Store, "", rowSerdes.key, rowSerdes.value)
	node.Table.Stores = []string{node.Table.Store}
	node.Table.Getter = func(env graph.Env) (wire.Getter[K, V], error) {
		rows, err := openRows(env, node.Table.Store, rowSerdes, wire.Reads(env))
		if err != nil {
			return nil, err
		}
		return rows.Get, nil
	}
	return node.Table.Stores, rowSerdes, errors.Join(errs[:]...)
}

func openRows[K, V any](
	env graph.Env, name string, rowSerdes serdes[K, V], try retry.Func,
) (*operator.Rows[K, V], error) {
	handle, err := env.Store(name)
	if err != nil {
		return nil, err
	}
	return operator.Open(name, handle.Bytes, rowSerdes.key, rowSerdes.value, try)
}
