package join

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/buffer"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/windowspec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// TableOption is a choice about a join of a stream with a table. Make it with Grace.
type TableOption struct {
	apply func(*tableSettings) error
}

type tableSettings struct {
	grace   time.Duration
	patient bool // Grace was given
}

// Grace has the records of the stream wait until stream time is d past their own time before they are joined, so that rows that come up to
// that much later than they should are seen. The table has to keep versions for at least as long (store.Versions), and each record is
// joined with the version of its own time.
//
// Stream time is the greatest time of the records of the stream that have waited; rows of the table do not move it, so that the last
// records wait until more come. Records that are due are joined in the order of their times, those of one time in the order of their keys'
// bytes and then as they came, with their own headers. A record that is more than d late is joined at once, and so is one without a
// key in a left join. They wait in the store <name>-Buffer, which has a changelog. With a d of 0 nothing waits.
func Grace(d time.Duration) TableOption {
	return TableOption{func(s *tableSettings) error {
		switch {
		case s.patient && s.grace != d:
			return fmt.Errorf("join.Grace is given twice: %v and %v", s.grace, d)
		case d < 0:
			return fmt.Errorf("its grace period is %v; it must not be negative", d)
		case d > windowspec.Limit:
			return fmt.Errorf("its grace period of %v is longer than 50 years", d)
		case d%time.Millisecond != 0:
			return fmt.Errorf("its grace period of %v is no whole number of milliseconds, in which times are counted", d)
		}
		s.grace, s.patient = d, true
		return nil
	}}
}

func readTableOptions(opts []TableOption) (s tableSettings, _ error) {
	var errs []error
	for i, o := range opts {
		if o.apply == nil {
			errs = append(errs, fmt.Errorf("option %d is zero; make options with join.Grace", i+1))
			continue
		}
		errs = append(errs, o.apply(&s))
	}
	return s, errors.Join(errs...)
}

// check says whether records can be joined with the versions of a table after they have waited.
func (s tableSettings) check(t *plan.Table) error {
	switch {
	case !s.patient:
		return nil
	case !t.Versioned:
		return errors.New("join.Grace needs a table that keeps versions, to find the row of a record's own time; make the table with store.Versions")
	case t.History < s.grace:
		return fmt.Errorf("its grace period is %v, and the table keeps versions for %v: it must keep them at least as long", s.grace, t.History)
	}
	return nil
}

// patience is the buffer of a join whose records wait.
type patience[K, V any] struct {
	store string
	wait  time.Duration
	key   serde.Serde[K]
	value serde.Serde[V]
}

// newPatience makes the store of a join's buffer; nil when nothing is to wait.
func newPatience[K, V any](c *plan.Compile, in plan.Handle[K, V], name string, s tableSettings) (*patience[K, V], error) {
	if s.grace == 0 {
		return nil, nil
	}
	p := &patience[K, V]{store: name + "-Buffer", wait: s.grace}
	var errs [3]error
	p.key, errs[0] = plan.KeySerde[K](in.Node())
	p.value, errs[1] = plan.ValueSerde[V](in.Node())
	errs[2] = c.AddStoreOf(graph.Store{Name: p.store, Kind: graph.Plain}, storespec.Settings{})
	return p, errors.Join(errs[:]...)
}

// before has the records of an inlet wait before it.
func (p *patience[K, V]) before(in wire.Outlet[K, V], n *graph.Node, env graph.Env) (wire.Outlet[K, V], error) {
	h, err := env.Store(p.store)
	if err != nil {
		return nil, err
	}
	g := &op.Grace[K, V]{Name: p.store, Wait: p.wait.Milliseconds(), Time: &env.OperatorTime(n).Time, Join: in}
	var errs [3]error
	g.Queue, errs[0] = buffer.OpenQueue(p.store, h.Bytes)
	g.Key, errs[1] = rowserde.New(p.key, p.store, true)
	g.Value, errs[2] = rowserde.New(p.value, p.store, false)
	place := graph.PlaceOf(env)
	return func(r topology.Record[K, V]) error {
		place.Node = n
		if err := g.Record(r); err != nil {
			return refused(env, n, err)
		}
		return nil
	}, errors.Join(errs[:]...)
}
