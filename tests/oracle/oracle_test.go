package oracle

import (
	"errors"
	"flag"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

// With -short 20 are enough.
var (
	seed      = flag.Uint64("seed", 0, "seed of the histories; 0: another one each time")
	histories = flag.Int("histories", 100, "how many histories each operator gets")
	within    = flag.Duration("time", 0, "run as many histories as fit in this time, shared by all operators; 0: -histories")
)

// oracle is an operator: a program and what it has to do.
type oracle struct {
	name   string
	build  func(b *stream.Builder)
	inputs []input
	// arrive says what a record is when it gets to the operator, behind a repartition topic; ok false: it does not. Nil: as it was sent.
	arrive func(e event) (_ event, ok bool)
	model  model
	whole  bool // the model is one of all partitions, since time is nothing to it
	spread bool // rows of several tasks follow from one record: those of different keys come in any order
	scale  int64
	clock  bool // histories move the wall clock; the model gets restarts, with which intervals begin again
	lossy  bool // the stores are not in a changelog: no disk is lost
	opts   []testdriver.Option
	merge  bool // uses of a changed key share one repartition topic
	// stores are what the stores hold at the end, as lines, in any order.
	stores map[string]func(h []event) []string
}

// finding is where model and program differ.
type finding struct {
	event int // len(events): at the end
	what  string
}

// TestOracles compares every operator with its model.
func TestOracles(t *testing.T) {
	base := *seed
	if base == 0 {
		base = rand.Uint64N(1 << 32)
	}
	t.Logf("-seed %d", base)
	enough := *histories
	if testing.Short() {
		enough = min(enough, 20)
	}
	all := oracles()
	for _, o := range all {
		t.Run(o.name, func(t *testing.T) {
			if *within == 0 {
				t.Parallel()
			}
			end := time.Now().Add(*within / time.Duration(len(all)))
			n := 0
			for ; n < enough && *within == 0 || *within > 0 && time.Now().Before(end); n++ {
				h := newHistory(o, rand.New(rand.NewPCG(base, uint64(n))))
				if f := o.run(h); f != nil {
					o.report(t, h, base, n)
					return
				}
			}
			t.Logf("%-40s %d histories", o.name, n)
		})
	}
}

// report prints a history that fails, cut down.
func (o oracle) report(t *testing.T, h history, base uint64, n int) {
	t.Helper()
	h = h.shrink(600, func(h history) bool { return o.run(h) != nil })
	f := o.run(h)
	if f == nil {
		f = &finding{what: "it did not fail when it was repeated"}
	}
	t.Errorf("-seed %d, history %d: at event %d: %s\n%v", base, n, f.event, f.what, h)
}

// bench is the test that a driver is given: it gives up instead of ending the test.
type bench struct {
	cleanup []func()
	err     error
}

type gaveUp struct{ error }

func (b *bench) Helper()          {}
func (b *bench) Cleanup(f func()) { b.cleanup = append(b.cleanup, f) }
func (b *bench) Fatalf(format string, args ...any) {
	panic(gaveUp{fmt.Errorf(format, args...)})
}

func (b *bench) Errorf(format string, args ...any) {
	b.err = errors.Join(b.err, fmt.Errorf(format, args...))
}

// end closes the driver.
func (b *bench) end() {
	for _, f := range slices.Backward(b.cleanup) {
		f()
	}
}

// run runs a history on o's program and on its model.
func (o oracle) run(h history) (f *finding) {
	b := &bench{}
	at := -1
	defer func() {
		if x := recover(); x != nil {
			b.end()
			g, ok := x.(gaveUp)
			if !ok {
				panic(x)
			}
			f = &finding{at, g.Error()}
		}
	}()
	d := o.drive(b, h)
	want := o.expected(h)
	var dropsBefore map[string]int
	for i, e := range h.events {
		at = i
		apply(d, e)
		if diff := o.compare(d, want[i], dropsBefore); diff != "" {
			b.end()
			return &finding{i, diff}
		}
		dropsBefore = d.Dropped()
	}
	at = len(h.events)
	if diff := o.rest(d, h); diff != "" {
		b.end()
		return &finding{at, diff}
	}
	if b.end(); b.err != nil {
		return &finding{at, b.err.Error()}
	}
	return nil
}

func (o oracle) drive(b *bench, h history) *testdriver.Driver {
	var how []stream.BuilderOption
	if o.merge {
		how = append(how, stream.MergeRepartitions())
	}
	builder := stream.NewBuilder(how...)
	o.build(builder)
	top, err := builder.Build()
	if err != nil {
		b.Fatalf("build: %v", err)
	}
	opts := append([]testdriver.Option{testdriver.Partitions(h.partitions), testdriver.StartAt(time.UnixMilli(0)), testdriver.ApplicationID("oracle")}, o.opts...)
	if h.disk {
		dir, err := os.MkdirTemp("", "oracle")
		if err != nil {
			b.Fatalf("%v", err)
		}
		b.Cleanup(func() { _ = os.RemoveAll(dir) }) // after the driver's own
		opts = append(opts, testdriver.StateDir(dir))
	}
	if h.manual {
		opts = append(opts, testdriver.ManualCommit())
	}
	return testdriver.New(b, top, opts...)
}

func raw(name string) stream.Topic[[]byte, []byte] {
	return stream.NewTopic(name, serde.Bytes, serde.Bytes)
}

func apply(d *testdriver.Driver, e event) {
	switch e.kind {
	case commit:
		d.Commit()
	case advance:
		d.Advance(time.Duration(e.at) * time.Millisecond)
	case restart:
		d.Restart()
	case wipe:
		d.Wipe()
	default:
		in := testdriver.Input(d, raw(e.topic)).At(time.UnixMilli(e.at)).Partition(e.part)
		in.Header("n", strconv.AppendInt(nil, int64(e.n), 10)).SendBytes(bytesOf(e.key), bytesOf(e.value))
	}
}

func bytesOf(t text) []byte {
	if !t.ok {
		return nil
	}
	return append([]byte{}, t.s...)
}

// expected returns what has to follow from each event, crashes included, from which nothing follows. Where commits are not events each
// record is followed by one.
func (o oracle) expected(h history) [][]row {
	var seen []event
	var at []int
	for i, e := range h.events {
		if (e.kind == restart || e.kind == wipe) && !o.clock {
			continue
		}
		if e.kind == record && o.arrive != nil {
			there, ok := o.arrive(e)
			if !ok {
				continue
			}
			there.part = home(there.key, h.partitions)
			e = there
		}
		seen, at = append(seen, e), append(at, i)
		if !h.manual {
			seen, at = append(seen, event{n: i, kind: commit, now: e.now}), append(at, i)
		}
	}
	m := o.model
	if !o.whole {
		m = tasks(m, h.partitions)
	}
	out := make([][]row, len(h.events))
	for i, rows := range m(seen) {
		out[at[i]] = append(out[at[i]], rows...)
	}
	return out
}

// compare compares what an event has set off with what the model says, topic by topic, and returns the first difference.
func (o oracle) compare(d *testdriver.Driver, want []row, before map[string]int) string {
	topics := map[string]bool{}
	for _, r := range want {
		topics[r.topic] = true
	}
	for _, name := range d.Topics() {
		topics[name] = true
	}
	delete(topics, dropped)
	for name := range topics {
		if strings.HasPrefix(name, "oracle-") {
			continue
		}
		wanted, got := lines(want, name), took(d, name)
		if o.spread {
			slices.SortStableFunc(wanted, byKey)
			slices.SortStableFunc(got, byKey)
		}
		if diff := differ(wanted, got); diff != "" {
			return "topic " + name + ": " + diff
		}
	}
	var got []string
	for reason, n := range d.Dropped() {
		for range n - before[reason] {
			got = append(got, reason)
		}
	}
	slices.Sort(got)
	return differ(reasons(want), got)
}

func byKey(a, b string) int {
	a, _, _ = strings.Cut(a, " -> ")
	b, _, _ = strings.Cut(b, " -> ")
	return strings.Compare(a, b)
}

func reasons(rows []row) (out []string) {
	for _, r := range rows {
		if r.topic == dropped {
			out = append(out, r.key.s)
		}
	}
	slices.Sort(out)
	return out
}

func lines(rows []row, topic string) (out []string) {
	for _, r := range rows {
		if r.topic == topic {
			out = append(out, r.String())
		}
	}
	return out
}

func took(d *testdriver.Driver, topic string) (out []string) {
	for _, r := range testdriver.Output(d, raw(topic)).Read() {
		x := row{key: text{string(r.Key), !r.NoKey}, value: text{string(r.Value), !r.Tombstone}, at: r.Time.UnixMilli(), from: -1}
		if n, ok := r.Headers.Get("n"); ok {
			x.from, _ = strconv.Atoi(string(n))
		}
		out = append(out, x.String())
	}
	return out
}

func differ(want, got []string) string {
	if slices.Equal(want, got) {
		return ""
	}
	return fmt.Sprintf("want\n\t%s\ngot\n\t%s", strings.Join(want, "\n\t"), strings.Join(got, "\n\t"))
}

// rest looks at the stores at the end, and again after a move.
func (o oracle) rest(d *testdriver.Driver, h history) string {
	var all []event
	for _, e := range h.events {
		if e.kind == record && o.arrive != nil {
			there, ok := o.arrive(e)
			if !ok {
				continue
			}
			there.part = home(there.key, h.partitions)
			e = there
		}
		all = append(all, e)
	}
	for _, when := range []string{"at the end", "after a move at the end"} {
		for name, f := range o.stores {
			if diff := differ(o.rows(all, h.partitions, f), dump(d, name)); diff != "" {
				return "store " + name + " " + when + ": " + diff
			}
		}
		if o.lossy {
			break
		}
		d.Commit()
		d.Wipe()
	}
	return ""
}

// rows are what f says of all partitions, together or of each of them.
func (o oracle) rows(all []event, partitions int, f func(h []event) []string) (out []string) {
	if o.whole {
		out = f(all)
	} else {
		for p := range int32(partitions) {
			out = append(out, f(filtered(all, func(e event) bool { return e.part == p }))...)
		}
	}
	slices.Sort(out)
	return out
}

// dump returns the rows of a store of any kind, of a versioned one the latest versions.
func dump(d *testdriver.Driver, name string) (out []string) {
	s, err := d.OpenStore(name)
	if err != nil {
		panic(gaveUp{err})
	}
	keyed := func(rows iter.Seq2[storage.Entry, error]) {
		for r, err := range rows {
			if err != nil {
				panic(gaveUp{err})
			}
			out = append(out, fmt.Sprintf("%s -> %s @%d%s", r.Key, r.Value, r.Time, keptHeader(r.Headers)))
		}
	}
	windowed := func(rows iter.Seq2[storage.WindowEntry, error]) {
		for r, err := range rows {
			if err != nil {
				panic(gaveUp{err})
			}
			out = append(out, fmt.Sprintf("%s -> %s @%d%s", windowKey(string(r.Key), r.Start, r.End), r.Value, r.Time, keptHeader(r.Headers)))
		}
	}
	switch {
	case s.Windows != nil:
		windowed(s.Windows.All(storage.Range{}, 0, math.MaxInt64))
	case s.Sessions != nil:
		windowed(s.Sessions.All(storage.Range{}, 0, math.MaxInt64))
	case s.Versions != nil:
		keyed(s.Versions.Latest())
	default:
		keyed(s.Bytes.Scan(storage.Range{}))
	}
	slices.Sort(out)
	return out
}
