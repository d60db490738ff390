package sim

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

const application = "sim"

var (
	events   = stream.NewTopic("events", serde.String, serde.String)   // user -> "group id"
	profiles = stream.NewTopic("profiles", serde.String, serde.String) // user -> version
	copies   = stream.NewTopic("copies", serde.String, serde.String)
	enriched = stream.NewTopic("enriched", serde.String, serde.String)
	tallies  = stream.NewTopic("tallies", serde.String, serde.String)
	echoes   = stream.NewTopic(echoesTopic, serde.String, serde.String) // events once more, at the same time
	pairs    = stream.NewTopic("pairs", serde.String, serde.String)
	held     = stream.NewTopic("held", serde.String, serde.String)
)

// mix is what a topology has beside what all have. It follows from the seed.
type mix string

// The mixes.
const (
	plainMix      mix = "plain"
	windowedMix   mix = "windowed"
	joinedMix     mix = "joined"
	suppressedMix mix = "suppressed"
	versionedMix  mix = "versioned"
)

var mixes = []mix{plainMix, windowedMix, joinedMix, suppressedMix, versionedMix}

const (
	eventsTopic   = "events"
	profilesTopic = "profiles"
	echoesTopic   = "echoes"
	repartitioned = application + "-by-group-repartition"
)

func changelogOf(store string) string { return application + "-" + store + "-changelog" }

// long is the grace of windows for which nothing is to be late, however long a record was on its way.
const long = time.Hour

// everywhere is the global store, of which each process has all: the tallies of all groups, as they come back from their topic.
const everywhere = "everywhere"

// build makes the topology of a history, for one process. Events are copied, joined with the table of profiles, and sent by group to a
// second sub-topology, whose tally has for each group the ids of all events that were counted, in order, as often as each was. A
// count that is deleted now and then writes tombstones to its changelog.
func (p *process) build() *topology.Topology {
	b := stream.NewBuilder()
	in := stream.Peek(stream.From(b, events), p.delivered)
	if p.w.mix == plainMix {
		stream.To(stream.TryMapValues(in, func(ctx context.Context, r stream.Record[string, string]) (string, error) {
			return r.Value, p.ask(ctx, r.Value)
		}, stream.Async(4)), copies)
	} else {
		stream.To(in, copies)
	}
	var opts []store.Option
	if p.w.mix == versionedMix {
		opts = append(opts, store.Versions(long))
	}
	rows := table.From(b, profiles, "profiles", opts...)
	stream.To(join.StreamTableLeft(in, rows, "enrich", func(event, row string, ok bool) string {
		return fmt.Sprintf("%s %s %t", idOf(event), row, ok)
	}), enriched)
	byGroup := stream.Repartition(stream.SelectKey(in, func(_, event string) string { return groupOf(event) }), "by-group")
	counted := stream.GroupByKey(stream.Peek(byGroup, p.counted))
	tally := table.Aggregate(counted, "tally", func() string { return "" }, addID)
	stream.To(table.ToStream(tally), tallies)
	table.Global(b, tallies, everywhere)
	table.Count(counted, "odd").DeleteWhen(func(_ string, n int64) bool { return n%3 == 0 })
	switch p.w.mix {
	case windowedMix:
		table.AggregateWindows(counted, window.Tumbling(2*time.Second).Grace(long), "by-time", table.Zero, addID)
		table.AggregateSessions(counted, window.Sessions(time.Second).Grace(long), "visits", table.Zero, addID, func(_, a, b string) string { return a + b })
		table.CountWindows(counted, window.Hopping(2*time.Second, time.Second).OnClose(), "closing")
	case joinedMix:
		echo := stream.Peek(stream.From(b, echoes), p.echoed)
		// What has the same time and key is mostly the same event.
		stream.To(join.StreamStreamLeft(in, echo, window.Within(0).Grace(long), "pair", func(l, r string, ok bool) string {
			return fmt.Sprintf("%s %s %t", idOf(l), idOf(r), ok)
		}), pairs)
	case suppressedMix:
		stream.To(table.ToStream(table.SuppressFor(tally, time.Second, "held", table.Unbounded())), held)
		perTime := table.AggregateWindows(counted, window.Tumbling(2*time.Second).Grace(time.Second), "by-time", table.Zero, addID)
		table.SuppressUntilClose(perTime, "final", table.Unbounded())
	}
	top, err := b.Build()
	require.NoError(p.w.t, err)
	return top
}

// ask takes as long as a service does that is asked about an event.
func (p *process) ask(ctx context.Context, event string) error {
	select {
	case <-time.After(time.Duration(len(event)*7%10) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func addID(_, event, ids string) string { return ids + " " + idOf(event) }

func groupOf(event string) string { group, _, _ := strings.Cut(event, " "); return group }
func idOf(event string) string    { _, id, _ := strings.Cut(event, " "); return id }

// keysFor returns n keys for each of the partitions.
func keysFor(prefix string, partitions, n int) [][]string {
	out := make([][]string, partitions)
	for i, left := 0, partitions*n; left > 0; i++ {
		key := fmt.Sprintf("%s%d", prefix, i)
		if p := partitioner.ForKey([]byte(key), partitions); len(out[p]) < n {
			out[p] = append(out[p], key)
			left--
		}
	}
	return out
}

// feeder writes the inputs: at each tick an event to each partition, in turn to each group's partition, and now and then a profile.
type feeder struct {
	w             *world
	users, groups [][]string
	net           *network
	client        *kgo.Client
	n, tick       int
	refused       int
	stop          context.CancelFunc
	done          chan struct{}
}

// newFeeder makes a feeder whose users lie in other partitions than their hash says, as where a service has a partitioner of its own: a
// changelog that went by the hash would not be its store's.
func newFeeder(w *world) *feeder {
	users := keysFor("u", w.partitions, 3)
	users = append(users[1:], users[0])
	f := &feeder{w: w, users: users, groups: keysFor("g", w.partitions, 4), net: newNetwork(w, 0)}
	f.net.traps = &traps{} // what it writes is not to fail
	var err error
	f.client, err = kgo.NewClient(kgo.SeedBrokers(w.b.Brokers()...), kgo.Dialer(f.net.dial), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	require.NoError(w.t, err)
	return f
}

func (f *feeder) start(every time.Duration) {
	ctx, cancel := context.WithCancel(f.w.ctx)
	f.stop, f.done = cancel, make(chan struct{})
	go func() {
		defer close(f.done)
		if f.w.spread {
			every /= time.Duration(f.w.partitions)
		}
		t := time.NewTicker(every)
		defer t.Stop()
		for p := 0; ; p++ {
			select {
			case <-t.C:
				if f.w.spread {
					f.one(p % f.w.partitions)
				} else {
					f.round()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
}

func (f *feeder) halt() {
	f.stop()
	<-f.done
}

// round writes an event to each partition, and to one of them a profile.
func (f *feeder) round() {
	f.tick++
	var rs []*kgo.Record
	var ids []string
	for p := range f.w.partitions {
		r, id := f.event(p)
		rs, ids = append(rs, f.withEcho(r)...), append(ids, id)
	}
	f.write(func() { f.w.ledger.accepted(ids) }, rs...)
	f.profile(f.tick % f.w.partitions)
}

// one writes an event to a partition, and a profile after the last one.
func (f *feeder) one(p int) {
	r, id := f.event(p)
	f.write(func() { f.w.ledger.accepted([]string{id}) }, f.withEcho(r)...)
	if p == f.w.partitions-1 {
		f.tick++
		f.profile(f.tick % f.w.partitions)
	}
}

func (f *feeder) event(p int) (r *kgo.Record, id string) {
	f.n++
	id = fmt.Sprintf("e%d", f.n)
	groups := f.groups[(p+f.tick)%f.w.partitions]
	event := groups[f.n%len(groups)] + " " + id
	return &kgo.Record{Topic: eventsTopic, Partition: int32(p), Key: []byte(f.users[p][f.tick%3]), Value: []byte(event), Timestamp: time.Now()}, id
}

// withEcho returns an event, and its echo if the topology reads that.
func (f *feeder) withEcho(r *kgo.Record) []*kgo.Record {
	if f.w.mix != joinedMix {
		return []*kgo.Record{r}
	}
	echo := *r
	echo.Topic = echoesTopic
	return []*kgo.Record{r, &echo}
}

// profile writes a row, or deletes one, until that is acknowledged.
func (f *feeder) profile(p int) {
	user := f.users[p][f.tick/f.w.partitions%3]
	r := kgo.Record{Topic: profilesTopic, Partition: int32(p), Key: []byte(user), Value: fmt.Appendf(nil, "v%d", f.tick)}
	if f.tick%7 == 0 {
		r.Value = nil
	}
	for f.w.ctx.Err() == nil && !f.write(func() { f.w.ledger.row(user, r.Value) }, &r) {
		r = kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
	}
}

// refusals is how many writes of the feeder may fail: its client does not like brokers that are away.
const refusals = 20

func (f *feeder) write(accepted func(), rs ...*kgo.Record) bool {
	ctx, cancel := context.WithTimeout(f.w.ctx, time.Minute)
	defer cancel()
	err := f.client.ProduceSync(ctx, rs...).FirstErr()
	if err == nil {
		accepted()
		return true
	}
	if f.refused++; f.refused == refusals {
		f.w.fail("feed", "writing to %s: %v", rs[0].Topic, err)
	}
	return f.refused >= refusals
}

// ledger is what the oracle knows. Safe for use by several goroutines.
type ledger struct {
	mu       sync.Mutex
	acked    map[string]time.Time // events, by id: when they were acknowledged
	rows     map[string][]byte    // profiles: the last value; nil: deleted
	aborted  map[string]bool      // events of transactions that were not committed
	sourced  map[string]int       // how often each event was delivered to the first sub-topology
	sources  map[string]place     // where it was read
	sentAt   map[string]time.Time // when the last time was
	counted  map[string]int       // to the second one
	echoed   map[string]int       // how often its echo was delivered
	repeated map[string]map[place]bool
	shown    map[tally]bool // what queries have shown
}

// tally is what a query shows of a group.
type tally struct{ group, ids string }

type place struct {
	partition int32
	offset    int64
}

func newLedger() *ledger {
	return &ledger{acked: map[string]time.Time{}, rows: map[string][]byte{}, aborted: map[string]bool{}, sourced: map[string]int{}, sources: map[string]place{}, sentAt: map[string]time.Time{},
		counted: map[string]int{}, echoed: map[string]int{}, repeated: map[string]map[place]bool{}, shown: map[tally]bool{}}
}

func (l *ledger) accepted(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.acked[id] = time.Now()
	}
}

func (l *ledger) show(group, ids string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown[tally{group, ids}] = true
}

// abort notes events that are not to be processed.
func (l *ledger) abort(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.aborted[id] = true
	}
}

func (l *ledger) row(user string, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[user] = value
}

// source notes a delivery to the first sub-topology, and returns since when the record waited; ok is false for one that is not the first
// delivery.
func (l *ledger) source(id string, at place) (since time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sourced[id]++
	l.sources[id] = at
	l.sentAt[id] = time.Now()
	since, acked := l.acked[id]
	return since, acked && l.sourced[id] == 1
}

// count is source for the second sub-topology.
func (l *ledger) count(id string, at place) (since time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counted[id]++
	if l.repeated[id] == nil {
		l.repeated[id] = map[place]bool{}
	}
	l.repeated[id][at] = true
	return l.sentAt[id], l.counted[id] == 1
}

// delivered is called with each event, on the goroutine of the worker.
func (p *process) delivered(r stream.Record[string, string]) {
	p.mayFail()
	at := r.Source()
	since, ok := p.w.ledger.source(idOf(r.Value), place{at.Partition, at.Offset})
	p.punctual(0, at.Partition, since, ok)
}

func (p *process) echoed(r stream.Record[string, string]) {
	l := p.w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.echoed[idOf(r.Value)]++
}

func (p *process) counted(r stream.Record[string, string]) {
	p.mayFail()
	at := r.Source()
	since, ok := p.w.ledger.count(idOf(r.Value), place{at.Partition, at.Offset})
	p.punctual(1, at.Partition, since, ok)
}
