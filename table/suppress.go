package table

import (
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
)

// SuppressFor returns t with fewer changes: of each key the newest one is held back until stream time is d past the time of the first one
// that was held back, and is then sent with the time and the headers of its own record. Deletions are held back and sent like others.
// Stream time is the greatest time of the changes that reach this step, so nothing is sent while none come. What is held back
// lies in a store of that name and survives a crash; when the buffer is full, the oldest entries are sent early, unless b says
// otherwise. Entries are sent in the order of those first times, and of the bytes of their keys where times are equal.
//
// A join that reads a row of the result gets what has been sent. What GroupBy of the result takes away from a group is the value before the
// newest change, even if that was never sent and the group has never had it, as in Kafka Streams: group the table before it is suppressed,
// or use Throttle, where that matters.
//
// Options: InMemory, NoChangelog, TopicConfig.
func SuppressFor[K, V any](t KTable[K, V], d time.Duration, name string, b Buffer, opts ...store.Option) KTable[K, V] {
	n, s := suppressed(t, "table.SuppressFor", name, opts)
	if n == nil {
		return KTable[K, V]{}
	}
	if d < 0 {
		n.Errorf("it holds changes back for %v; the time must not be negative", d)
	}
	n.Mistake(b.check(false))
	p := suppression[K]{wait: d.Milliseconds(), Buffer: b}
	n.Emit = func(c *plan.Compile) error { return emitSuppressed[K, V](c, n, s, p) }
	return result[K, V](n)
}

// suppression is what SuppressFor and SuppressUntilClose have of their own.
type suppression[K any] struct {
	Buffer
	wait  int64
	final bool
	at    func(K, int64) int64
}

// suppressed makes the node of a suppression.
func suppressed[K, V any](t KTable[K, V], opname, name string, opts []store.Option) (*plan.Node, storespec.Settings) {
	n := plan.New[K, V](nil, opname, "suppress", handle(t).Out())
	if n == nil {
		return nil, storespec.Settings{}
	}
	n.GiveName(name)
	n.CanFail = true
	s, err := storespec.Read(opts, bufferOptions...)
	n.Mistake(err)
	of := func() *plan.Table { return plan.TableOf(n.Input(0)) }
	own := &plan.Table{}
	own.AskRows = func() { of().AskRows() }
	own.AskOld = func(force bool) bool {
		own.WantOld = of().AskOld(force)
		return own.WantOld
	}
	// What has been sent is known from the old values only.
	n.Demand = func() { of().AskOld(true) }
	n.Table = own
	return n.KeepKey(0).KeepValue(0), s
}

// bufferHeaders mark the changelog's records as those of Kafka Streams' buffers of version 3.
var bufferHeaders = []kafka.Header{{Name: "v", Value: []byte{3}}}

func emitSuppressed[K, V any](c *plan.Compile, n *plan.Node, s storespec.Settings, p suppression[K]) error {
	return emitBuffered(c, n, s, func(x *op.Suppress[K, V], n *graph.Node, env graph.Env, send wire.TableOutlet[K, V]) wire.TableOutlet[K, V] {
		x.Wait, x.At, x.Final, x.Stop, x.MaxRecords, x.MaxBytes = p.wait, p.at, p.final, p.stop, p.records, p.bytes
		clock := env.OperatorTime(n)
		return func(c wire.Change[K, V]) error {
			clock.Time = max(clock.Time, c.Time.UnixMilli())
			return x.Change(c, clock.Time, send)
		}
	})
}

// take wires what a step does with its buffer: it returns what takes changes; send sends them on.
type take[K, V any] func(x *op.Suppress[K, V], n *graph.Node, env graph.Env, send wire.TableOutlet[K, V]) wire.TableOutlet[K, V]

// emitBuffered makes the step of a table whose changes wait in a buffer.
func emitBuffered[K, V any](c *plan.Compile, n *plan.Node, s storespec.Settings, f take[K, V]) error {
	of := n.Input(0)
	if plan.TableOf(of).Versioned {
		return errors.New("its table keeps versions, whose changes may come in any order: they cannot be suppressed")
	}
	var with serdes[K, V]
	var errs [3]error
	with.key, errs[0] = plan.KeySerde[K](n)
	with.value, errs[1] = plan.ValueSerde[V](n)
	errs[2] = c.AddStoreOf(graph.Store{Name: n.Name(), Headers: bufferHeaders}, s)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	g := &graph.Node{Stores: []string{n.Name()}, Wire: func(g *graph.Node, env graph.Env, outs []any) (any, error) {
		h, err := env.Store(n.Name())
		if err != nil {
			return nil, err
		}
		x, err := op.OpenSuppress(n.Name(), h.Bytes, with.key, with.value)
		if err != nil {
			return nil, err
		}
		x.Old, x.Unsent = n.Table.WantOld, n.Table.Unsent
		return bufferInlet(x, g, env, f, outs[0].(wire.TableOutlet[K, V])), nil
	}}
	if getter, stores := plan.GetterOf[K, V](of); getter != nil {
		n.Table.Getter, n.Table.Stores = seen(getter, n.Name(), with), append([]string{n.Name()}, stores...)
	}
	if err := c.Add(n.Name(), g, of); err != nil {
		return err
	}
	plan.GivesTable[K, V](c, 0, g, "")
	return nil
}

func bufferInlet[K, V any](x *op.Suppress[K, V], n *graph.Node, env graph.Env, f take[K, V], out wire.TableOutlet[K, V]) wire.TableOutlet[K, V] {
	place := graph.PlaceOf(env)
	put := f(x, n, env, func(c wire.Change[K, V]) error {
		was := env.RecordAt(c.Time.UnixMilli()) // for what processors make of it
		err := out(c)
		env.RecordAt(was)
		if err == nil {
			place.Node = n
		}
		return err
	})
	return func(c wire.Change[K, V]) error {
		place.Node = n
		if err := put(c); err != nil {
			return refused(env, n, n.Name, err)
		}
		return nil
	}
}

// seen says how the rows of a suppressed table are read.
func seen[K, V any](getter func(graph.Env) (wire.Getter[K, V], error), name string, with serdes[K, V]) func(graph.Env) (wire.Getter[K, V], error) {
	return func(env graph.Env) (wire.Getter[K, V], error) {
		of, err := getter(env)
		if err != nil {
			return nil, err
		}
		h, err := env.Store(name)
		if err != nil {
			return nil, err
		}
		return op.Seen(name, h.Bytes, with.key, with.value, of)
	}
}
