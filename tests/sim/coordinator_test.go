package sim

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millstream-go/millstream/internal/kafka"
)

const lateEnd = "end of a transaction carried out after its answer"

// endedForDead is that a member has ended the transaction of a process that is no member.
const endedForDead = "transaction of a dead process ended by another"

// maxLate is how much later than its answer the end of a transaction is carried out, at most.
const maxLate = 200 * time.Millisecond

// lateness draws up to maxLate, and mostly less: while a transaction ends, the Apps ask again and again, which is what a history costs.
func lateness(r *rand.Rand) time.Duration {
	x := r.Float64()
	return time.Duration(x * x * float64(maxLate))
}

// lateEnds has coordinators answer the end of a transaction before it is carried out, as Kafka's do: its markers, and its offsets, come
// later, whatever becomes of who has asked for it. Until then other requests of its transactional id are answered with
// CONCURRENT_TRANSACTIONS. The brokers of this simulation would carry it out before they answer.
type lateEnds struct {
	w      *world
	net    *network
	client *kgo.Client
	under  sync.WaitGroup

	mu       sync.Mutex
	r        *rand.Rand
	off      bool
	underWay map[string]bool                   // ids whose end was answered, and is not carried out
	carrying map[string]bool                   // those of which the end is on its way to the broker: whether it is a commit
	looked   map[ending]*transaction           // nil: it is not open
	takes    map[string]int                    // how often somebody has taken an id
	refusal  int16                             // the code that the next ends are answered with
	refusals int                               // how many of them
	refused  int                               // how many were
	offsets  map[string][]kafka.TopicPartition // of which inputs the open transaction of an id has offsets
}

// transaction is one that is open.
type transaction struct{ partitions, offsets []kafka.TopicPartition }

func newLateEnds(w *world, seed uint64) *lateEnds {
	l := &lateEnds{w: w, r: rand.New(rand.NewPCG(seed, 2)), underWay: map[string]bool{}, carrying: map[string]bool{},
		looked: map[ending]*transaction{}, takes: map[string]int{}, offsets: map[string][]kafka.TopicPartition{}}
	l.net = newNetwork(w, 0)
	l.net.traps, l.net.markers = &traps{}, nil // its requests are not to fail
	var err error
	// As what it stands for: from version 5 on, the end of a transaction raises the epoch.
	l.client, err = kgo.NewClient(kgo.SeedBrokers(w.b.Brokers()...), kgo.Dialer(l.net.dial), kgo.DisableClientMetrics(),
		kgo.MaxVersions(kversion.V3_0_0()))
	require.NoError(w.t, err)
	l.install()
	return l
}

// install has the brokers, which may be new ones, ask l.
func (l *lateEnds) install() {
	for key, f := range map[kmsg.Key]func(kmsg.Request) kmsg.Response{
		kmsg.EndTxn: l.end,
		kmsg.TxnOffsetCommit: func(r kmsg.Request) kmsg.Response {
			req := r.(*kmsg.TxnOffsetCommitRequest)
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, t := range req.Topics {
				for _, p := range t.Partitions {
					l.offsets[req.TransactionalID] = append(l.offsets[req.TransactionalID], kafka.TopicPartition{Topic: t.Topic, Partition: p.Partition})
				}
			}
			return nil
		},
		kmsg.AddPartitionsToTxn: func(r kmsg.Request) kmsg.Response {
			req := r.(*kmsg.AddPartitionsToTxnRequest)
			if !l.concurrent(req.TransactionalID) {
				return nil
			}
			resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
			for _, t := range req.Topics {
				topic := kmsg.NewAddPartitionsToTxnResponseTopic()
				topic.Topic = t.Topic
				for _, p := range t.Partitions {
					partition := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
					partition.Partition, partition.ErrorCode = p, kerr.ConcurrentTransactions.Code
					topic.Partitions = append(topic.Partitions, partition)
				}
				resp.Topics = append(resp.Topics, topic)
			}
			return resp
		},
		kmsg.AddOffsetsToTxn: func(r kmsg.Request) kmsg.Response {
			req := r.(*kmsg.AddOffsetsToTxnRequest)
			if !l.concurrent(req.TransactionalID) {
				return nil
			}
			resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
			resp.ErrorCode = kerr.ConcurrentTransactions.Code
			return resp
		},
		// The broker would say that it is open.
		kmsg.DescribeTransactions: func(r kmsg.Request) kmsg.Response {
			req := r.(*kmsg.DescribeTransactionsRequest)
			if !slices.ContainsFunc(req.TransactionalIDs, l.concurrent) {
				return nil
			}
			resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
			for _, id := range req.TransactionalIDs {
				state := kmsg.NewDescribeTransactionsResponseTransactionState()
				state.TransactionalID, state.State = id, "PrepareCommit"
				if !l.concurrent(id) { // it is asked about again
					state.ErrorCode = kerr.NotCoordinator.Code
				}
				resp.TransactionStates = append(resp.TransactionStates, state)
			}
			return resp
		},
		kmsg.InitProducerID: func(r kmsg.Request) kmsg.Response {
			req := r.(*kmsg.InitProducerIDRequest)
			if req.TransactionalID == nil || !l.concurrent(*req.TransactionalID) {
				l.taken(req.TransactionalID)
				return nil
			}
			resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
			resp.ErrorCode = kerr.ConcurrentTransactions.Code
			return resp
		},
	} {
		l.w.b.Cluster().ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.w.b.Cluster().KeepControl()
			resp := f(r)
			return resp, nil, resp != nil
		})
	}
}

// refuse has the next n ends refused. It returns how many have been, and what ends it.
func (l *lateEnds) refuse(code int16, n int) (hits func() int, end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusal, l.refusals, l.refused = code, n, 0
	hits = func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.refused
	}
	return hits, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refusals = 0
	}
}

// taken forgets what was looked up of an id that somebody takes: what was open is aborted.
func (l *lateEnds) taken(id *string) {
	if id == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takes[*id]++
	maps.DeleteFunc(l.looked, func(one ending, _ *transaction) bool { return one.id == *id })
}

func (l *lateEnds) concurrent(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.underWay[id]
}

// end answers the end of a transaction that can be ended. It returns nil where the broker is to answer. Whether it can be ended is looked
// up after a first request, which is answered with CONCURRENT_TRANSACTIONS: a broker of this simulation that waits would have others wait.
func (l *lateEnds) end(r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.EndTxnRequest)
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	l.mu.Lock()
	defer l.mu.Unlock()
	// Another one, of somebody who aborts the transaction, comes too late: its outcome was decided by the answer.
	if commit, is := l.carrying[req.TransactionalID]; l.off || is && commit == req.Commit {
		return nil
	}
	if l.refusals > 0 {
		l.refusals--
		l.refused++
		resp.ErrorCode = l.refusal
		return resp
	}
	resp.ErrorCode = kerr.ConcurrentTransactions.Code
	if l.underWay[req.TransactionalID] {
		return resp
	}
	again := kmsg.NewPtrEndTxnRequest()
	again.TransactionalID, again.ProducerID, again.ProducerEpoch, again.Commit = req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit
	one := ending{req.TransactionalID, req.ProducerID, req.ProducerEpoch}
	switch open, known := l.looked[one]; {
	case !known:
		takes := l.takes[req.TransactionalID]
		l.under.Go(func() {
			open := l.ongoing(again)
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.takes[req.TransactionalID] == takes {
				l.looked[one] = open
			}
		})
	case open == nil:
		delete(l.looked, one)
		return nil
	default:
		delete(l.looked, one)
		l.underWay[req.TransactionalID] = true
		if req.Commit {
			open.offsets = l.offsets[req.TransactionalID]
		}
		delete(l.offsets, req.TransactionalID)
		late := lateness(l.r)
		l.under.Go(func() { l.carryOut(again, late, open) })
		l.w.tookEffect(lateEnd)
		resp.ErrorCode = 0
	}
	return resp
}

// ending is what ends a transaction.
type ending struct {
	id       string
	producer int64
	epoch    int16
}

// ongoing returns the transaction that a request is to end; nil when it is not open, or about to time out.
func (l *lateEnds) ongoing(req *kmsg.EndTxnRequest) *transaction {
	ctx, cancel := context.WithTimeout(l.w.ctx, time.Second)
	defer cancel()
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{req.TransactionalID}
	resp, err := describe.RequestWith(ctx, l.client)
	if err != nil || len(resp.TransactionStates) != 1 {
		return nil
	}
	s := resp.TransactionStates[0]
	ends := time.UnixMilli(s.StartTimestamp).Add(time.Duration(s.TimeoutMillis) * time.Millisecond)
	if s.ErrorCode != 0 || s.State != "Ongoing" || s.ProducerID != req.ProducerID || s.ProducerEpoch != req.ProducerEpoch ||
		time.Until(ends) < 2*time.Second {
		return nil
	}
	open := &transaction{}
	for _, t := range s.Topics {
		for _, p := range t.Partitions {
			open.partitions = append(open.partitions, kafka.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	return open
}

// carryOut ends a transaction, however often that takes. Its end is over when the last of its markers can be seen.
func (l *lateEnds) carryOut(req *kmsg.EndTxnRequest, late time.Duration, open *transaction) {
	pass(late)
	over := l.w.markers.delay(open)
	l.mu.Lock()
	l.carrying[req.TransactionalID] = req.Commit
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.carrying, req.TransactionalID)
		l.mu.Unlock()
		pass(time.Until(over))
		l.mu.Lock()
		delete(l.underWay, req.TransactionalID)
		l.mu.Unlock()
	}()
	for l.w.ctx.Err() == nil {
		resp, err := req.RequestWith(l.w.ctx, l.client)
		if err == nil && resp.ErrorCode == 0 {
			break
		}
		// A request that a fault of the history refuses is repeated. It is another matter when the transaction does not exist any more.
		if err == nil {
			switch code := kerr.ErrorForCode(resp.ErrorCode); code {
			case kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping:
				l.w.fail("broker", "an end that was answered could not be carried out: %v", code)
				return
			}
		}
		pass(10 * time.Millisecond)
	}
}

// pause has the brokers carry out what was answered, and answer themselves from then on, until resume.
func (l *lateEnds) pause() {
	l.mu.Lock()
	l.off = true
	l.mu.Unlock()
	until(time.Minute, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.underWay) == 0
	})
}

// close ends what is under way. The world's context has ended.
func (l *lateEnds) close() {
	l.under.Wait()
	l.client.Close()
}

func (l *lateEnds) resume() {
	l.install()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = false
}
