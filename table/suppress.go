package table

import (
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/store"
)

// SuppressFor returns t with fewer changes. The first change of a key is buffered, and later
// changes of the key replace it, until stream time is d past the time of that first change. Then
// the newest change is sent, with the time and headers of its own record. Tombstones are treated
// like other changes. Stream time is the greatest time of the changes that reach this step, so
// nothing is sent while none arrive. Buffered changes are in a store of the given name
// and survive a crash. When the buffer is full, the oldest ones are sent early, unless b is set to
// stop. Changes are sent in the order of the times of the first changes, and by the bytes of their
// keys where these are equal.
//
// A join that reads a row of the result gets what has been sent. GroupBy of the result behaves as
// in Kafka Streams: it removes from a group the value before the newest change, even if that value
// was never sent and the group never received it. Where that matters, group the table before
// suppressing it, or use Throttle.
//
// Options: InMemory, NoChangelog, TopicConfig.
func SuppressFor[K, V any](t KTable[K, V], d time.Duration, name string, b Buffer, opts ...store.Option) KTable[K, V] {
	node, settings := suppressNode(t, "table.SuppressFor", name, opts)
	if node == nil {
		return KTable[K, V]{}
	}
	if d < 0 {
		node.Errorf("it buffers changes for %v; the time must not be negative", d)
	}
	node.AddError(b.check(false))
	rule := suppressRule[K]{wait: d.Milliseconds(), Buffer: b}
	node.AddToGraph = func(c *plan.Compiler) error { return addSuppress[K, V](c, node, settings, rule) }
	return result[K, V](node)
}

// suppressRule is how SuppressFor and SuppressUntilClose differ.
type suppressRule[K any] struct {
	Buffer
	wait  int64
	final bool
	at    func(K, int64) int64
}

// suppressNode makes the node of a suppression.
func suppressNode[K, V any](t KTable[K, V], opname, name string, opts []store.Option) (*plan.Node, spec.StoreSettings) {
	node := plan.New[K, V](nil, opname, "suppress", handle(t).Out())
	if node == nil {
		return nil, spec.StoreSettings{}
	}
	node.FixName(name)
	node.CanFail = true
	settings, err := spec.ReadStoreOptions(opts, bufferOptions...)
	node.AddError(err)
	upstream := func() *plan.Table { return plan.TableOf(node.Input(0)) }
	planTable := &plan.Table{}
	planTable.RequireRows = func() { upstream().RequireRows() }
	planTable.RequireOldValues = func(force bool) bool {
		planTable.OldValues = upstream().RequireOldValues(force)
		return planTable.OldValues
	}
	planTable.UnsentOutput = func() plan.Out {
		planTable.UnsentRequired = true
		return plan.Out{Node: node, Port: 1}
	}
	// The row that was sent last is the old value of the first change in the buffer, so old values
	// are always required.
	node.Require = func() { upstream().RequireOldValues(true) }
	node.Table = planTable
	return node.InheritKeySerde(0).InheritValueSerde(0), settings
}

// bufferHeaders mark the changelog's records as those of Kafka Streams' buffers of version 3.
var bufferHeaders = []kafka.Header{{Name: "v", Value: []byte{3}}}

func addSuppress[K, V any](
	compiler *plan.Compiler, node *plan.Node, settings spec.StoreSettings, rule suppressRule[K],
) error {
	return addBuffered(compiler, node, settings, func(
		suppress *operator.Suppress[K, V], node *graph.Node, env graph.Env, send wire.TableOutlet[K, V],
	) wire.TableOutlet[K, V] {
		suppress.Wait, suppress.DueFrom, suppress.DropTombstones = rule.wait, rule.at, rule.final
		suppress.FailWhenFull, suppress.MaxRecords, suppress.MaxBytes = rule.stopWhenFull, rule.records, rule.bytes
		// The stream time of this step alone, which survives a restart: that of the task may be ahead of
		// it, and what is due must not depend on other steps.
		clock := env.OperatorTime(node)
		return func(change wire.Change[K, V]) error {
			clock.Time = max(clock.Time, change.Time.UnixMilli())
			return suppress.Change(change, clock.Time, send)
		}
	})
}

// bufferWiring makes the function that puts changes into a buffer, for one task; the buffer passes
// changes on with send.
type bufferWiring[K, V any] func(
	suppress *operator.Suppress[K, V], node *graph.Node, env graph.Env, send wire.TableOutlet[K, V],
) wire.TableOutlet[K, V]

// addBuffered adds the step of a table whose changes wait in a buffer.
func addBuffered[K, V any](
	compiler *plan.Compiler, node *plan.Node, settings spec.StoreSettings, wiring bufferWiring[K, V],
) error {
	tableOut := node.Input(0)
	if plan.TableOf(tableOut).Versioned {
		return errors.New("its table keeps versions, whose changes may come in any order: they cannot be suppressed")
	}
	var rowSerdes serdes[K, V]
	var errs [3]error
	rowSerdes.key, errs[0] = plan.KeySerde[K](node)
	rowSerdes.value, errs[1] = plan.ValueSerde[V](node)
	errs[2] = compiler.AddStoreOfKind(graph.Store{Name: node.Name(), Headers: bufferHeaders}, settings)
	compiler.SetRowFormat(node.Name(), "buffer", rowSerdes.key, rowSerdes.value)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	graphNode := &graph.Node{Stores: []string{node.Name()}, TracksTime: true,
		Wire: func(graphNode *graph.Node, env graph.Env, outs []any) (any, error) {
			h, err := env.Store(node.Name())
			if err != nil {
				return nil, err
			}
			suppress, err := operator.OpenSuppress(node.Name(), h.Bytes, rowSerdes.key, rowSerdes.value,
				wire.NewSite(graphNode, env).Stores(node.Name()))
			if err != nil {
				return nil, err
			}
			suppress.Old = node.Table.OldValues
			var unsent wire.TableOutlet[K, V]
			// Only where a grouping asked for the output: each change that is sent decodes one more
			// old value for it.
			if len(outs) > 1 {
				unsent = outs[1].(wire.TableOutlet[K, V])
			}
			return bufferInlet(suppress, graphNode, env, wiring, outs[0].(wire.TableOutlet[K, V]), unsent), nil
		}}
	// A read of a row needs both stores: that of the buffer for keys with a change in it, and those
	// of the table before for all others.
	if getter, stores := plan.GetterOf[K, V](tableOut); getter != nil {
		node.Table.Getter, node.Table.Stores = sentGetter(getter, node.Name(), rowSerdes),
			append([]string{node.Name()}, stores...)
	}
	if err := compiler.AddNode(node.Name(), graphNode, tableOut); err != nil {
		return err
	}
	plan.SetTableOutput[K, V](compiler, 0, graphNode, "")
	if node.Table.UnsentRequired {
		plan.SetTableOutput[K, V](compiler, 1, graphNode, "")
	}
	return nil
}

// bufferInlet makes the inlet of a step with a buffer. unsent receives changes as
// operator.Suppress.Unsent does; it is nil if no step needs them.
func bufferInlet[K, V any](
	suppress *operator.Suppress[K, V], node *graph.Node, env graph.Env, wiring bufferWiring[K, V],
	out, unsent wire.TableOutlet[K, V],
) wire.TableOutlet[K, V] {
	site := wire.NewSite(node, env)
	// A change that leaves the buffer is not that of the record being processed. Processors behind this
	// step must see its time as that of the record.
	sending := func(out wire.TableOutlet[K, V]) wire.TableOutlet[K, V] {
		return func(c wire.Change[K, V]) error {
			before := env.SetRecordTime(c.Time.UnixMilli())
			err := out(c)
			env.SetRecordTime(before)
			// This step's serdes are called next. After an error the step that failed stays the current one.
			if err == nil {
				site.Resume()
			}
			return err
		}
	}
	if unsent != nil {
		suppress.OutUnsent = sending(unsent)
	}
	apply := wiring(suppress, node, env, sending(out))
	return func(c wire.Change[K, V]) error {
		site.Enter()
		return retry.IgnoreSkipped(apply(c))
	}
}

// sentGetter returns how rows of a suppressed table are read: as they were sent.
func sentGetter[K, V any](
	getter func(graph.Env) (wire.Getter[K, V], error), name string, rowSerdes serdes[K, V],
) func(graph.Env) (wire.Getter[K, V], error) {
	return func(env graph.Env) (wire.Getter[K, V], error) {
		before, err := getter(env)
		if err != nil {
			return nil, err
		}
		h, err := env.Store(name)
		if err != nil {
			return nil, err
		}
		return operator.SeenGetter(name, h.Bytes, rowSerdes.key, rowSerdes.value, before, wire.Reads(env))
	}
}
