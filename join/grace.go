package join

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/buffer"
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// TableOption is an option of a join of a stream with a table. Make one with Grace.
type TableOption struct {
	apply func(*tableSettings) error
}

type tableSettings struct {
	grace    time.Duration
	hasGrace bool // Grace was given
}

// Grace makes the records of the stream wait before they are joined, until stream time is d past
// their own time, so that rows which arrive up to that much too late are still seen. The table must
// keep versions for at least d (store.Versions); each record is joined with the version that was
// valid at its own time.
//
// Stream time is the greatest time of the records of the stream that have waited. Rows of the table
// do not advance it, so the last records wait until more records arrive. Records that are due are
// joined in the order of their times; those of equal time in the order of their keys' bytes, and
// then of their arrival. They have their own headers. A record that is more than d late is joined
// at once, and so is one without a key in a left join. The waiting records are in the store
// <name>-Buffer, which has a changelog. With a d of 0 nothing waits.
func Grace(d time.Duration) TableOption {
	return TableOption{func(settings *tableSettings) error {
		switch {
		case settings.hasGrace && settings.grace != d:
			return fmt.Errorf("join.Grace is given twice: %v and %v", settings.grace, d)
		case d < 0:
			return fmt.Errorf("its grace period is %v; it must not be negative", d)
		case d > spec.MaxDuration:
			return fmt.Errorf("its grace period of %v is longer than 50 years", d)
		case d%time.Millisecond != 0:
			return fmt.Errorf("its grace period of %v is not a whole number of milliseconds", d)
		}
		settings.grace, settings.hasGrace = d, true
		return nil
	}}
}

func readTableOptions(opts []TableOption) (s tableSettings, _ error) {
	var errs []error
	for i, opt := range opts {
		if opt.apply == nil {
			errs = append(errs, fmt.Errorf("option %d is zero; make options with join.Grace", i+1))
			continue
		}
		errs = append(errs, opt.apply(&s))
	}
	return s, errors.Join(errs...)
}

// check returns an error if t cannot serve records that have waited, because it does not keep
// versions for long enough.
func (s tableSettings) check(planTable *plan.Table) error {
	switch {
	case !s.hasGrace:
		return nil
	case !planTable.Versioned:
		return errors.New("join.Grace needs a table that keeps versions, to look rows up by the time of a record; make the " +
			"table with store.Versions")
	case planTable.History < s.grace:
		return fmt.Errorf("its grace period is %v, and the table keeps versions for %v: give store.Versions at least the "+
			"grace period", s.grace, planTable.History)
	}
	return nil
}

// graceBuffer is the buffer of a join whose records wait.
type graceBuffer[K, V any] struct {
	store string
	wait  time.Duration
	key   serde.Serde[K]
	value serde.Serde[V]
}

// newGraceBuffer declares the store of a join's buffer. It returns nil if nothing waits.
func newGraceBuffer[K, V any](
	compiler *plan.Compiler, in plan.Handle[K, V], name string, settings tableSettings,
) (*graceBuffer[K, V], error) {
	if settings.grace == 0 {
		return nil, nil
	}
	grace := &graceBuffer[K, V]{store: name + "-Buffer", wait: settings.grace}
	var errs [3]error
	grace.key, errs[0] = plan.KeySerde[K](in.Node())
	grace.value, errs[1] = plan.ValueSerde[V](in.Node())
	errs[2] = compiler.AddStoreOfKind(graph.Store{Name: grace.store, Kind: graph.Plain}, spec.StoreSettings{})
	compiler.SetRowFormat(grace.store, "join buffer", grace.key, grace.value)
	return grace, errors.Join(errs[:]...)
}

// delay returns an inlet whose records wait in the buffer before they reach the inlet in.
func (b *graceBuffer[K, V]) delay(in wire.Outlet[K, V], node *graph.Node, env graph.Env) (wire.Outlet[K, V], error) {
	handle, err := env.Store(b.store)
	if err != nil {
		return nil, err
	}
	wait := &operator.GraceBuffer[K, V]{Name: b.store, Wait: b.wait.Milliseconds(), Time: &env.OperatorTime(node).Time,
		Join: in, Try: wire.NewSite(node, env).Stores(b.store)}
	var errs [3]error
	wait.Queue, errs[0] = buffer.OpenQueue(b.store, handle.Bytes)
	wait.Key, errs[1] = codec.New(b.key, b.store, true, wait.Try)
	wait.Value, errs[2] = codec.New(b.value, b.store, false, wait.Try)
	site := wire.NewSite(node, env)
	return func(r topology.Record[K, V]) error {
		site.Enter()
		return retry.IgnoreSkipped(wait.Record(r))
	}, errors.Join(errs[:]...)
}
