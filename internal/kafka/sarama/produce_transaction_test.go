package sarama

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

func (w *world) transactor(c *Client, cfg kafka.ProduceConfig) kafka.Transactor {
	p, err := c.Transactor(cfg, kafka.TransactionConfig{ID: "app-1"})
	require.NoError(w.t, err)
	return p
}

// committed returns the values that a read-committed reader sees of a partition.
func (w *world) committed(ctx context.Context, p int32) []string {
	return values(w.read(ctx, tp(p), kafka.ReadCommitted))
}

func (w *world) offset(ctx context.Context, group string, p int32) int64 {
	o, err := w.client.Offsets()
	require.NoError(w.t, err)
	defer o.Close()
	at, err := o.Fetch(ctx, group, []kafka.TopicPartition{tp(p)})
	require.NoError(w.t, err)
	return at[tp(p)].Offset
}

// commit has a transaction of records of one partition written and ended.
func commit(ctx context.Context, t *testing.T, p kafka.Transactor, tp kafka.TopicPartition, values ...string) {
	t.Helper()
	send(ctx, t, p, tp, values...)
	require.NoError(t, done(ctx, t, p.Cut()).Err)
	require.NoError(t, p.End(ctx))
}

func offsetsAt(p int32, offset int64) map[kafka.TopicPartition]kafka.OffsetMeta {
	return map[kafka.TopicPartition]kafka.OffsetMeta{tp(p): {Offset: offset, Metadata: "m"}}
}

// Records and offsets of a transaction are visible together once it has ended. What is sent after its Cut is in the log no sooner.
func TestTransactor_CommitsRecordsAndOffsets(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		send(ctx, t, p, tp(0), "a0", "a1")
		send(ctx, t, p, tp(1), "a2")
		first := p.Cut()
		send(ctx, t, p, tp(0), "b0")
		send(ctx, t, p, tp(2), "b1")
		p.Flush()
		require.NoError(t, done(ctx, t, first).Err)
		require.NoError(t, p.CommitOffsets(ctx, "g", "", -1, offsetsAt(0, 7)))
		time.Sleep(time.Second)
		assert.Equal(t, []string{"a0", "a1"}, values(w.log(ctx, tp(0))), "the gate is closed until the end")
		assert.Empty(t, w.log(ctx, tp(2)))
		assert.Empty(t, w.committed(ctx, 0))
		assert.Positive(t, p.Waiting())

		require.NoError(t, p.End(ctx))
		assert.Zero(t, p.Waiting())
		assert.Equal(t, []string{"a0", "a1"}, w.committed(ctx, 0))
		assert.Equal(t, []string{"a2"}, w.committed(ctx, 1))
		assert.Equal(t, int64(7), w.offset(ctx, "g", 0))

		second := done(ctx, t, p.Cut())
		require.NoError(t, second.Err)
		require.NoError(t, p.End(ctx))
		assert.Equal(t, []string{"a0", "a1", "b0"}, w.committed(ctx, 0))
		assert.Equal(t, []string{"b1"}, w.committed(ctx, 2))
		assert.Equal(t, int64(4), second.Ends[tp(0)], "behind the last record; the first transaction's marker has an offset too")
		assert.Equal(t, int64(3), second.Ends[tp(1)]-first.Ends[tp(1)]+3, "a partition without records stays where it was")
	})
}

// A transaction may have offsets alone, or nothing at all.
func TestTransactor_WithoutRecords(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		assert.ErrorContains(t, p.End(ctx), "Begin")
		require.NoError(t, p.Begin(ctx))
		assert.ErrorContains(t, p.End(ctx), "without a Cut")
		ends := 0
		w.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			ends++
			return nil, nil, false
		})
		done(ctx, t, p.Cut())
		require.NoError(t, p.End(ctx))
		assert.Zero(t, ends)
		done(ctx, t, p.Cut())
		require.NoError(t, p.CommitOffsets(ctx, "g", "", -1, offsetsAt(1, 3)))
		require.NoError(t, p.End(ctx))
		assert.Equal(t, 1, ends)
		assert.Equal(t, int64(3), w.offset(ctx, "g", 1))
	})
}

// Send may wait for room, but never for a transaction to end: its caller is who ends it.
func TestTransactor_SendDoesNotWaitForTheEnd(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{BufferBytes: 1000})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		send(ctx, t, p, tp(0), "first")
		ticket := p.Cut()
		value := string(make([]byte, 400))
		for range 10 {
			send(ctx, t, p, tp(0), value)
		}
		assert.Greater(t, p.Waiting(), int64(4000))
		require.NoError(t, done(ctx, t, ticket).Err)
		require.NoError(t, p.End(ctx))
		send(ctx, t, p, tp(0), value) // waits for room, which there will be
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		require.NoError(t, p.End(ctx))
		assert.Len(t, w.committed(ctx, 0), 12)
	})
}

// What was sent after the Cut of the open transaction can become a part of it: the next Cut ends it then.
func TestTransactor_Extend(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		p.Extend() // there is nothing to extend
		send(ctx, t, p, tp(0), "a")
		first := done(ctx, t, p.Cut())
		require.NoError(t, first.Err)
		send(ctx, t, p, tp(0), "letter")
		send(ctx, t, p, tp(1), "b")
		p.Flush()
		time.Sleep(time.Second)
		require.Equal(t, []string{"a"}, values(w.log(ctx, tp(0))), "the gate is closed")
		p.Extend()
		assert.Zero(t, p.Waiting())
		assert.ErrorContains(t, p.End(ctx), "without a Cut")
		second := done(ctx, t, p.Cut())
		require.NoError(t, second.Err)
		assert.Equal(t, int64(2), second.Ends[tp(0)], "one transaction: there is no marker in between")
		assert.Empty(t, w.committed(ctx, 0))
		require.NoError(t, p.CommitOffsets(ctx, "g", "", -1, offsetsAt(0, 7)))
		send(ctx, t, p, tp(0), "next")
		require.NoError(t, p.End(ctx))
		assert.Equal(t, []string{"a", "letter"}, w.committed(ctx, 0))
		assert.Equal(t, []string{"b"}, w.committed(ctx, 1))
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		require.NoError(t, p.End(ctx))
		assert.Equal(t, []string{"a", "letter", "next"}, w.committed(ctx, 0))
	})
}

func TestTransactor_Abort(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		send(ctx, t, p, tp(0), "gone")
		ticket := p.Cut()
		require.NoError(t, done(ctx, t, ticket).Err)
		require.NoError(t, p.CommitOffsets(ctx, "g", "", -1, offsetsAt(0, 7)))
		send(ctx, t, p, tp(0), "gone too")
		p.Flush()
		waiting := p.Cut()
		require.NoError(t, p.Abort(ctx))
		assert.ErrorIs(t, done(ctx, t, waiting).Err, kafka.ErrAborted)
		assert.Zero(t, p.Waiting())
		assert.Equal(t, int64(-1), w.offset(ctx, "g", 0))

		commit(ctx, t, p, tp(0), "stays")
		assert.Equal(t, []string{"stays"}, w.committed(ctx, 0))
		assert.Equal(t, []string{"gone", "stays"}, values(w.log(ctx, tp(0))))
	})
}

// A batch of an aborted transaction that arrives late is refused, since the epoch was raised.
func TestTransactor_AbortWithABatchUnderWay(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		n := newNetwork(w.virtual)
		c := w.newClient(func(cfg *Config) { cfg.Dialer = n.dial })
		defer c.Close()
		p := w.transactor(c, kafka.ProduceConfig{})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		send(ctx, t, p, tp(0), "before")
		p.Flush()
		time.Sleep(time.Second)
		// The request is on its way for longer than the abort takes.
		w.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.SleepControl(func() { time.Sleep(5 * time.Second) })
			return nil, nil, false
		})
		send(ctx, t, p, tp(0), "late")
		p.Flush()
		time.Sleep(time.Second)
		require.NoError(t, p.Abort(ctx))
		commit(ctx, t, p, tp(1), "after")
		time.Sleep(10 * time.Second)
		assert.Equal(t, []string{"before"}, values(w.log(ctx, tp(0))))
		assert.Empty(t, w.committed(ctx, 0))
		assert.Equal(t, []string{"after"}, w.committed(ctx, 1))
	})
}

// Who begins with the same id ends what the other has left open, and shuts it out.
func TestTransactor_Fenced(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		old, next := w.transactor(w.client, kafka.ProduceConfig{}), w.transactor(w.client, kafka.ProduceConfig{})
		defer old.Close()
		defer next.Close()
		require.NoError(t, old.Begin(ctx))
		send(ctx, t, old, tp(0), "old")
		ticket := old.Cut()
		require.NoError(t, done(ctx, t, ticket).Err)
		require.NoError(t, next.Begin(ctx))
		assert.ErrorIs(t, old.End(ctx), kafka.ErrFenced)
		assert.Empty(t, w.committed(ctx, 0))

		commit(ctx, t, next, tp(0), "new")
		assert.Equal(t, []string{"new"}, w.committed(ctx, 0))
	})
}

// So it is when it writes.
func TestTransactor_FencedWhileItWrites(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		old, next := w.transactor(w.client, kafka.ProduceConfig{}), w.transactor(w.client, kafka.ProduceConfig{})
		defer old.Close()
		defer next.Close()
		require.NoError(t, old.Begin(ctx))
		commit(ctx, t, old, tp(0), "old")
		require.NoError(t, next.Begin(ctx))
		send(ctx, t, old, tp(0), "zombie")
		err := done(ctx, t, old.Cut()).Err
		assert.ErrorIs(t, err, kafka.ErrFenced)
		assert.ErrorIs(t, old.End(ctx), kafka.ErrFenced)
		assert.Equal(t, []string{"old"}, values(w.log(ctx, tp(0))))
	})
}

// A transaction that its time-out has ended is not committed, and Abort makes the producer usable again.
func TestTransactor_TimeOut(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p, err := w.client.Transactor(kafka.ProduceConfig{}, kafka.TransactionConfig{ID: "slow", Timeout: time.Second})
		require.NoError(t, err)
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		send(ctx, t, p, tp(0), "too late")
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		time.Sleep(20 * time.Second)
		assert.Error(t, p.End(ctx))
		require.NoError(t, p.Abort(ctx))
		commit(ctx, t, p, tp(0), "in time")
		assert.Equal(t, []string{"in time"}, w.committed(ctx, 0))
	})
}

// When the answer of a commit is lost the request is repeated, and says what became of it.
func TestTransactor_LostAnswers(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		t.Run(key.Name(), func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				n := newNetwork(w.virtual)
				c := w.newClient(func(cfg *Config) { cfg.Dialer = n.dial })
				defer c.Close()
				p := w.transactor(c, kafka.ProduceConfig{})
				defer p.Close()
				lost := 0
				w.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
					if lost++; lost < 3 {
						w.cluster.KeepControl()
						return nil, errors.New("cut"), true
					}
					return nil, nil, false
				})
				require.NoError(t, p.Begin(ctx))
				send(ctx, t, p, tp(0), "once")
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				require.NoError(t, p.CommitOffsets(ctx, "g", "", -1, offsetsAt(0, 7)))
				require.NoError(t, p.End(ctx))
				assert.Equal(t, 3, lost)
				assert.Equal(t, []string{"once"}, w.committed(ctx, 0))
				assert.Equal(t, int64(7), w.offset(ctx, "g", 0))
			})
		})
	}
}

// A partition that does not exist is refused after a while, as without transactions. The others of the request are written.
func TestTransactor_UnknownTopic(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		var failed []string
		p := w.transactor(w.client, kafka.ProduceConfig{OnFailure: func(f kafka.ProduceFailure) bool {
			failed = append(failed, string(f.Record.Value))
			return true
		}})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		send(ctx, t, p, tp(0), "written")
		send(ctx, t, p, kafka.TopicPartition{Topic: "none", Partition: 0}, "refused")
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		require.NoError(t, p.End(ctx))
		assert.Equal(t, []string{"refused"}, failed)
		assert.Equal(t, []string{"written"}, w.committed(ctx, 0))
	})
}

// Random histories: transactions of records and offsets are committed and aborted while leaders, coordinators, connections and
// answers fail at random. A committed one is read whole, in order and once; of an aborted one nothing is.
func TestTransactor_Histories(t *testing.T) {
	first, n := rand.Uint64(), *histories
	if *seed != 0 {
		first, n = *seed, 1
	}
	for i := range uint64(n) {
		s := first + i
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			simulate(t, func(_ context.Context, w *world) { transactionHistory(w, rand.New(rand.NewPCG(s, s))) })
		})
	}
}

var (
	transactionKeys = []kmsg.Key{
		kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.FindCoordinator,
	}
	// What coordinators that move, load or still write markers answer.
	transactionCodes = []*kerr.Error{
		kerr.ConcurrentTransactions, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress,
	}
)

func transactionHistory(w *world, r *rand.Rand) {
	t := w.t
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	n := newNetwork(w.virtual)
	defer n.thaw()
	c := w.newClient(func(cfg *Config) { cfg.Dialer = n.dial })
	defer c.Close()
	p := w.transactor(c, kafka.ProduceConfig{BatchBytes: 1 << (6 + r.IntN(8)), BufferBytes: 100_000})
	defer p.Close()
	require.NoError(t, p.Begin(ctx))
	want := map[int32][]string{}
	var next map[int32][]string // sent after the last Cut
	var faults []*kfake.FaultHandle
	offset, attempts := int64(-1), int64(0)
	fill := func() {
		next = map[int32][]string{}
		for range r.IntN(40) {
			part, v := int32(r.IntN(3)), fmt.Sprint(attempts, "-", r.IntN(1e6))
			next[part] = append(next[part], v)
			// The broker may have refused an epoch for it, with any code: the next ticket says so.
			if err := p.Send(ctx, tp(part), kafka.ProduceRecord{Value: []byte(v), Time: 1000}); err != nil {
				require.Equal(t, err, p.Healthy())
				return
			}
		}
		p.Flush()
	}
	// The broker may refuse it at first, with any code.
	abort := func() {
		var err error
		for range 20 {
			if err = p.Abort(ctx); err == nil {
				return
			}
			require.NotErrorIs(t, err, kafka.ErrFenced)
		}
		require.NoError(t, err)
	}
	fill()
	for range 40 {
		faults = append(faults, mischief(w, n, r)...)
		if r.IntN(3) == 0 {
			faults = append(faults, w.cluster.Fault(kfake.Fault{Keys: transactionKeys, Err: transactionCodes[r.IntN(len(transactionCodes))],
				Count: 1 + r.IntN(4)}))
		}
		ticket := p.Cut()
		ending := next
		attempts++
		fill() // while it ends
		if r.IntN(8) == 0 {
			n.thaw()
			n.setRefuse(false)
			abort()
			fill()
			continue
		}
		if r.IntN(5) == 0 {
			time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
			p.Extend()
			ticket = p.Cut()
			for part, values := range next {
				ending[part] = append(ending[part], values...)
			}
			attempts++
			fill()
		}
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		healed := time.AfterFunc(time.Duration(r.IntN(60))*time.Second, func() { n.thaw(); n.setRefuse(false) })
		done(ctx, t, ticket)
		if ticket.Err == nil {
			ticket.Err = p.CommitOffsets(ctx, "g", "", -1, offsetsAt(0, attempts))
		}
		if ticket.Err == nil {
			ticket.Err = p.End(ctx)
		}
		healed.Stop()
		if ticket.Err != nil {
			require.NotErrorIs(t, ticket.Err, kafka.ErrClosed)
			n.thaw()
			n.setRefuse(false)
			abort()
			fill()
			continue
		}
		for part, values := range ending {
			want[part] = append(want[part], values...)
		}
		offset = attempts
	}
	n.thaw()
	n.setRefuse(false)
	for _, fault := range faults {
		fault.Remove()
	}
	abort() // the one that was filled and not cut
	for part := range int32(3) {
		require.Equal(t, want[part], slices.Clip(append([]string(nil), w.committed(ctx, part)...)), "partition %d", part)
	}
	require.Equal(t, offset, w.offset(ctx, "g", 0))
	n.freeze() // a process that hangs can be closed all the same
	time.Sleep(time.Second)
	began := time.Now()
	p.Close()
	c.Close()
	assert.Zero(t, time.Since(began))
}

// A request that is not answered may arrive when the next transaction is open. It belongs to another epoch then, and is refused: offsets
// that arrive late do not replace later ones, and an end does not commit the half of a transaction.
func TestTransactor_RequestsThatArriveLate(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		t.Run(key.Name(), func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				p := w.transactor(w.client, kafka.ProduceConfig{})
				defer p.Close()
				require.NoError(t, p.Begin(ctx))
				// The connection breaks while the request is on its way, which takes long.
				var late kmsg.Request
				var broker int32
				w.cluster.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
					late, broker = r, w.cluster.CurrentNode()
					return nil, errors.New("cut"), true
				})
				send(ctx, t, p, tp(0), "a")
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				require.NoError(t, p.CommitOffsets(ctx, "g", "", -1, offsetsAt(0, 7)))
				require.NoError(t, p.End(ctx))

				send(ctx, t, p, tp(0), "b")
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				require.NoError(t, p.CommitOffsets(ctx, "g", "", -1, offsetsAt(0, 8)))
				require.NotNil(t, late)
				w.arrive(ctx, broker, late)
				assert.Equal(t, []string{"a"}, w.committed(ctx, 0))
				require.NoError(t, p.End(ctx))
				assert.Equal(t, []string{"a", "b"}, w.committed(ctx, 0))
				assert.Equal(t, int64(8), w.offset(ctx, "g", 0))
			})
		})
	}
}

// arrive has a request arrive at a broker, and waits for the answer.
func (w *world) arrive(ctx context.Context, broker int32, r kmsg.Request) {
	cn, err := w.virtual.DialContext(ctx, "tcp", fmt.Sprintf("localhost:%d", 9092+broker))
	require.NoError(w.t, err)
	defer func() { _ = cn.Close() }()
	_, err = cn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, r, 1))
	require.NoError(w.t, err)
	var size [4]byte
	_, err = io.ReadFull(cn, size[:])
	require.NoError(w.t, err)
}

// Nobody knows whether a transaction is committed after an answer that a coordinator gives, too, when its own record of the end may be
// replicated.
func TestTransactor_UncertainEnds(t *testing.T) {
	for code, uncertain := range map[*kerr.Error]bool{
		kerr.CoordinatorNotAvailable: true, kerr.NotCoordinator: true, kerr.RequestTimedOut: true, kerr.UnknownServerError: true,
		kerr.CoordinatorLoadInProgress: false, kerr.ConcurrentTransactions: false, kerr.InvalidTxnState: true, kerr.ProducerFenced: false,
		kerr.TransactionalIDAuthorizationFailed: false,
	} {
		t.Run(code.Message, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				p := w.transactor(w.client, kafka.ProduceConfig{})
				defer p.Close()
				require.NoError(t, p.Begin(ctx))
				send(ctx, t, p, tp(0), "a")
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: code, Count: -1})
				short, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				err := p.End(short)
				require.Error(t, err)
				assert.Equal(t, uncertain, errors.Is(err, kafka.ErrUncertain), "%v", err)
				fault.Remove()
				require.NoError(t, p.Abort(ctx))
				commit(ctx, t, p, tp(0), "b")
				assert.Equal(t, []string{"b"}, w.committed(ctx, 0))
			})
		})
	}
}

// A transaction that could not be begun says nothing about the next one.
func TestTransactor_HealthyAfterAnAbort(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.NotCoordinator, Count: -1})
		send(ctx, t, p, tp(0), "a")
		p.Flush()
		time.Sleep(time.Minute)
		require.Error(t, p.Healthy())
		require.NoError(t, p.Abort(ctx))
		time.Sleep(10 * time.Second)
		require.NoError(t, p.Healthy())
		fault.Remove()
	})
}

// Offsets of which the answer says nothing are not committed.
func TestTransactor_AnswersThatLackAPartition(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		o, err := w.client.Offsets()
		require.NoError(t, err)
		defer o.Close()
		require.NoError(t, p.Begin(ctx))
		answers := 0
		lack := func(r kmsg.Request) (kmsg.Response, error, bool) {
			answers++
			resp := r.ResponseKind()
			resp.SetVersion(r.GetVersion())
			return resp, nil, true
		}
		w.cluster.ControlKey(int16(kmsg.TxnOffsetCommit), lack)
		require.NoError(t, p.CommitOffsets(ctx, "g", "", -1, offsetsAt(1, 3)))
		done(ctx, t, p.Cut())
		require.NoError(t, p.End(ctx))
		assert.Equal(t, int64(3), w.offset(ctx, "g", 1))
		w.cluster.ControlKey(int16(kmsg.OffsetCommit), lack)
		require.NoError(t, o.Commit(ctx, "h", "", -1, offsetsAt(1, 4)))
		assert.Equal(t, int64(4), w.offset(ctx, "h", 1))
		assert.Equal(t, 2, answers)
	})
}

// A transaction ends only when all its records are written.
func TestTransactor_EndTooEarly(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		send(ctx, t, p, tp(0), "a")
		ticket := p.Cut()
		time.Sleep(time.Second)
		require.ErrorContains(t, p.End(ctx), "not acknowledged")
		fault.Remove()
		require.NoError(t, done(ctx, t, ticket).Err)
		require.NoError(t, p.End(ctx))

		fault = w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		send(ctx, t, p, tp(0), "refused")
		require.ErrorIs(t, done(ctx, t, p.Cut()).Err, kafka.ErrNotAuthorized)
		require.ErrorIs(t, p.End(ctx), kafka.ErrNotAuthorized, "no policy has dropped the record")
		fault.Remove()
		require.NoError(t, p.Abort(ctx))
		assert.Equal(t, []string{"a"}, w.committed(ctx, 0))
	})
}

// Two transactions may be cut before the first one ends. The second is written then, without another call.
func TestTransactor_TwoCuts(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		send(ctx, t, p, tp(0), "a")
		first := p.Cut()
		send(ctx, t, p, tp(0), "b")
		second := p.Cut()
		one := p.Waiting()
		send(ctx, t, p, tp(0), "c")
		p.Flush()
		require.Greater(t, p.Waiting(), one)
		require.NoError(t, done(ctx, t, first).Err)
		time.Sleep(time.Second)
		require.NoError(t, p.End(ctx))
		assert.Equal(t, one, p.Waiting(), "the third waits")
		require.NoError(t, done(ctx, t, second).Err)
		require.NoError(t, p.End(ctx))
		assert.Zero(t, p.Waiting())
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		require.NoError(t, p.End(ctx))
		assert.Equal(t, []string{"a", "b", "c"}, w.committed(ctx, 0))
	})
}

// An abort ends the transaction before it raises the epoch: a coordinator that has to end it for a new epoch takes the id from its owner.
// Nothing is sent before both were answered.
func TestTransactor_NothingIsSentBeforeTheAbortIsAnswered(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.InitProducerID} {
		t.Run(key.Name(), func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				p := w.transactor(w.client, kafka.ProduceConfig{})
				defer p.Close()
				require.NoError(t, p.Begin(ctx))
				send(ctx, t, p, tp(0), "a")
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				ends := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Observe: true, Count: -1})
				fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.CoordinatorNotAvailable, Count: -1})
				short, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				require.Error(t, p.Abort(short))
				send(ctx, t, p, tp(0), "too early")
				send(ctx, t, p, tp(1), "too early")
				p.Flush()
				time.Sleep(10 * time.Second)
				assert.Equal(t, []string{"a"}, values(w.log(ctx, tp(0))))
				assert.Empty(t, w.log(ctx, tp(1)))
				require.Error(t, p.End(ctx))
				fault.Remove()
				require.NoError(t, p.Abort(ctx))
				assert.Positive(t, ends.Hits())
				commit(ctx, t, p, tp(1), "b")
				assert.Empty(t, w.committed(ctx, 0))
				assert.Equal(t, []string{"b"}, w.committed(ctx, 1))
			})
		})
	}
}

// A batch that may have been written and is then refused leaves the transaction uncertain: there is no other identity to go on with.
func TestTransactor_RefusedAfterALostAnswer(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{OnFailure: func(kafka.ProduceFailure) bool { return true }})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		w.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			return nil, errors.New("cut"), true
		})
		send(ctx, t, p, tp(0), "a")
		p.Flush()
		time.Sleep(time.Millisecond)
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		require.ErrorIs(t, done(ctx, t, p.Cut()).Err, kafka.ErrUncertain)
		fault.Remove()
		require.NoError(t, p.Abort(ctx))
		commit(ctx, t, p, tp(0), "b")
		assert.Equal(t, []string{"b"}, w.committed(ctx, 0))
	})
}

// A transaction whose end was answered is committed, whatever becomes of the epoch of the next one.
func TestTransactor_EpochThatCannotBeRaised(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.transactor(w.client, kafka.ProduceConfig{})
		defer p.Close()
		require.NoError(t, p.Begin(ctx))
		w.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
			return nil, errors.New("cut"), true
		})
		send(ctx, t, p, tp(0), "a")
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.TransactionalIDAuthorizationFailed, Count: -1})
		send(ctx, t, p, tp(0), "not sent")
		waiting := p.Cut()
		require.NoError(t, p.End(ctx))
		assert.Equal(t, []string{"a"}, w.committed(ctx, 0))
		require.ErrorIs(t, done(ctx, t, waiting).Err, kafka.ErrNotAuthorized)
		require.ErrorIs(t, p.End(ctx), kafka.ErrNotAuthorized)
		require.ErrorIs(t, p.Abort(ctx), kafka.ErrNotAuthorized)
		fault.Remove()
		require.NoError(t, p.Abort(ctx))
		commit(ctx, t, p, tp(0), "b")
		assert.Equal(t, []string{"a", "b"}, w.committed(ctx, 0))
	})
}

// A producer may be closed whatever it waits for: calls return, and no goroutine is left.
func TestTransactor_CloseWhileCallsWait(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.Produce} {
		for _, cancelled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cancelled %t", key.Name(), cancelled), func(t *testing.T) {
				simulate(t, func(ctx context.Context, w *world) {
					p := w.transactor(w.client, kafka.ProduceConfig{})
					w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.CoordinatorNotAvailable, Count: -1})
					called, cancel := context.WithCancel(ctx)
					defer cancel()
					failed := make(chan error, 1)
					go func() {
						err := p.Begin(called)
						if err == nil {
							err = p.Send(called, tp(0), kafka.ProduceRecord{Value: []byte("a"), Time: time.Now().UnixMilli()})
						}
						if err == nil {
							ticket := p.Cut()
							select {
							case <-ticket.Done:
								err = ticket.Err
							case <-called.Done():
								err = called.Err()
							}
						}
						if err == nil {
							err = p.CommitOffsets(called, "g", "", -1, offsetsAt(0, 7))
						}
						if err == nil {
							err = p.End(called)
						}
						failed <- err
					}()
					time.Sleep(5 * time.Second)
					began := time.Now()
					if cancelled {
						cancel()
						require.Error(t, <-failed)
						p.Close()
					} else {
						p.Close()
						require.Error(t, <-failed)
					}
					assert.Zero(t, time.Since(began))
					require.ErrorIs(t, p.Begin(ctx), kafka.ErrClosed)
					require.ErrorIs(t, p.Abort(ctx), kafka.ErrClosed)
					require.Error(t, p.Send(ctx, tp(1), kafka.ProduceRecord{Value: []byte("b"), Time: time.Now().UnixMilli()}))
					require.ErrorIs(t, done(ctx, t, p.Cut()).Err, kafka.ErrClosed)
					p.Close()
				})
			})
		}
	}
}

// Behind the last abort nothing is sent, and no partition is added: it would begin another transaction, which nobody ends. Where there is
// nothing to be aborted that is no error.
func TestTransactor_NothingBeginsAfterAbortOpen(t *testing.T) {
	for _, added := range []bool{false, true} {
		t.Run(fmt.Sprintf("added %t", added), func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				p := w.transactor(w.client, kafka.ProduceConfig{})
				defer p.Close()
				require.NoError(t, p.Begin(ctx))
				if added {
					send(ctx, t, p, tp(1), "aborted")
					p.Flush()
					time.Sleep(time.Second)
				}
				fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.ConcurrentTransactions, Count: -1})
				send(ctx, t, p, tp(0), "late")
				p.Flush()
				time.Sleep(time.Second)
				require.NoError(t, p.AbortOpen(ctx))
				fault.Remove()
				time.Sleep(10 * time.Second)
				assert.Empty(t, w.log(ctx, tp(0)))
				assert.Empty(t, w.committed(ctx, 1))
				require.ErrorIs(t, done(ctx, t, p.Cut()).Err, kafka.ErrAborted)
				ends := map[kafka.TopicPartition]int64{tp(1): kafka.Latest}
				stable, err := w.admin.ListOffsets(ctx, kafka.ReadCommitted, ends)
				require.NoError(t, err)
				all, err := w.admin.ListOffsets(ctx, kafka.ReadUncommitted, ends)
				require.NoError(t, err)
				assert.Equal(t, all, stable, "nothing is open")
			})
		})
	}
}

// A coordinator that is not available says so for as long as a call waits for it.
func TestTransactor_UnhealthyWhileCallsWait(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.FindCoordinator} {
		t.Run(key.Name(), func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				p := w.transactor(w.client, kafka.ProduceConfig{})
				defer p.Close()
				fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.CoordinatorNotAvailable, Count: -1})
				failed := make(chan error, 1)
				go func() {
					err := p.Begin(ctx)
					if err == nil {
						err = p.CommitOffsets(ctx, "g", "", -1, offsetsAt(0, 7))
					}
					p.Cut()
					if err == nil {
						err = p.End(ctx)
					}
					failed <- err
				}()
				time.Sleep(10 * time.Second)
				require.ErrorIs(t, p.Healthy(), kafka.ErrUnavailable)
				fault.Remove()
				require.NoError(t, <-failed)
				require.NoError(t, p.Healthy())
			})
		})
	}
}
