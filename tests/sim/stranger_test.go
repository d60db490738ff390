package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// stranger is a producer of another application, with a transaction that it leaves open on inputs of the Apps. What is committed has to
// be processed like all other input, what is aborted not at all, and what is behind an open transaction waits for its end. Nobody but the
// stranger, or a time-out, may end it.
type stranger struct {
	w       *world
	n       int
	net     *network
	client  *kgo.Client
	fate    fate
	timeout time.Duration
	open    time.Duration // how long it leaves the transaction open
	records []*kgo.Record
	ids     []string
	users   map[string][]byte // the rows that it writes
}

// fate is how the transaction of a stranger ends.
type fate int

const (
	commits fate = iota
	aborts
	timesOut

	fates
)

func (f fate) String() string {
	return [...]string{"a stranger commits", "a stranger aborts", "the transaction of a stranger times out"}[f]
}

// strangerIDs are the forms of their transactional ids. They are like those of the Apps, as of an application whose name begins with
// theirs.
var strangerIDs = []string{"billing-%d", application + "-billing-%032x-0", application + "-%032x-0-billing"}

// stranger lets one come, and does not wait for its end.
func (w *world) stranger(s step) {
	w.strangers++
	x := &stranger{w: w, n: w.strangers, net: newNetwork(w, 0), fate: fate(w.r.IntN(int(fates))), timeout: time.Minute, open: s.away,
		users: map[string][]byte{}}
	if x.fate == timesOut {
		x.timeout = s.away
	}
	x.net.traps = &traps{}
	w.outside = append(w.outside, x.net)
	for i := range 1 + w.r.IntN(2*w.partitions) {
		x.write(i % w.partitions)
	}
	var err error
	// From version 5 on, the end of a transaction has its producer's next epoch, which nobody here answers with.
	x.client, err = kgo.NewClient(kgo.SeedBrokers(w.b.Brokers()...), kgo.Dialer(x.net.dial), kgo.DisableClientMetrics(),
		kgo.TransactionalID(fmt.Sprintf(strangerIDs[w.r.IntN(len(strangerIDs))], x.n)), kgo.TransactionTimeout(x.timeout),
		kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxVersions(kversion.V3_0_0()))
	require.NoError(w.t, err)
	w.strangersOpen(1)
	w.others.Go(func() {
		defer w.strangersOpen(-1)
		defer x.client.Close()
		x.run()
	})
}

// write adds an event, with what belongs to it, and a row.
func (x *stranger) write(partition int) {
	f := x.w.feeder
	id := fmt.Sprintf("s%d-%d", x.n, len(x.ids))
	group := f.groups[x.w.r.IntN(x.w.partitions)][0]
	r := &kgo.Record{Topic: eventsTopic, Partition: int32(partition), Key: []byte(f.users[partition][0]), Value: []byte(group + " " + id),
		Timestamp: time.Now()}
	x.ids, x.records = append(x.ids, id), append(x.records, f.withEcho(r)...)
	user := fmt.Sprintf("s%d-%d", x.n, partition)
	x.users[user] = []byte(id)
	x.records = append(x.records, &kgo.Record{Topic: profilesTopic, Partition: int32(partition), Key: []byte(user), Value: []byte(id)})
}

func (x *stranger) run() {
	w := x.w
	ctx, cancel := context.WithTimeout(w.ctx, 2*time.Minute)
	defer cancel()
	// Else those who send to the three brokers would ask for it, one of them with a mutex for which the others wait. The clock of the
	// bubble stands still then, and a pause before the next try never ends.
	_, _, err := x.client.ProducerID(ctx)
	if err == nil {
		err = x.client.BeginTransaction()
	}
	if err != nil {
		if w.ctx.Err() == nil {
			w.fail("stranger", "begin: %v", err)
		}
		return
	}
	err = x.client.ProduceSync(ctx, x.records...).FirstErr()
	w.note("stranger %d has a transaction of %d records: %v, after %v (%v)", x.n, len(x.records), x.fate, x.open, err)
	if err != nil && w.ctx.Err() == nil { // nothing of it may be processed: it is aborted, now or by its time-out
		x.fate = timesOut
	}
	if x.fate != commits {
		w.ledger.abort(x.ids)
	}
	x.pass(x.open)
	if x.fate == timesOut {
		x.pass(time.Second)
		if err == nil {
			w.tookEffect(x.fate.String())
		}
		return
	}
	if err = x.client.EndTransaction(ctx, kgo.TransactionEndTry(x.fate == commits)); w.ctx.Err() != nil {
		return
	}
	if err != nil {
		w.fail("stranger", "its transaction was ended by another, or could not be ended: %v", err)
		return
	}
	w.note("stranger %d: %v", x.n, x.fate)
	w.tookEffect(x.fate.String())
	if x.fate == commits {
		w.ledger.accepted(x.ids)
		for user, row := range x.users {
			w.ledger.row(user, row)
		}
	}
}

// pass lets time pass, unless the history ends.
func (x *stranger) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-x.w.ctx.Done():
	}
}

// strangersOpen notes that one more transaction of a stranger is open, or one less.
func (w *world) strangersOpen(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.strangersNow += n
	w.strangersUntil = time.Now().Add(time.Second) // what has waited is processed then
}

// strangerSince reports whether inputs may have waited for a stranger since a time.
func (w *world) strangerSince(since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.strangersNow > 0 || since.Before(w.strangersUntil)
}
