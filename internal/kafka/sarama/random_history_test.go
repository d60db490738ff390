package sarama

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

var (
	seed      = flag.Uint64("seed", 0, "run this history only")
	histories = flag.Int("histories", 40, "how many random histories to run")
)

// Random histories: records are written and read while brokers, leaders, connections and answers
// fail at random. Afterwards the log holds each record once, in order, and the reader has seen the
// same.
func TestHistories(t *testing.T) {
	first, n := rand.Uint64(), *histories
	if *seed != 0 {
		first, n = *seed, 1
	}
	for i := range uint64(n) {
		s := first + i
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			simulate(t, func(_ context.Context, w *world) { history(w, rand.New(rand.NewPCG(s, s))) })
		})
	}
}

func history(w *world, r *rand.Rand) {
	t := w.t
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	n := newNetwork(w.virtual)
	defer n.thaw()
	c := w.newClient(func(cfg *Config) { cfg.Dialer = n.dial })
	defer c.Close()
	p, err := c.Producer(kafka.ProduceConfig{BatchBytes: 1 << (6 + r.IntN(8)), BufferBytes: 100_000})
	require.NoError(t, err)
	defer p.Close()
	f, err := c.Fetcher(kafka.FetchConfig{PartitionBytes: 1 << (8 + r.IntN(8)), BufferBytes: 5000})
	require.NoError(t, err)
	defer f.Close()
	s := collect(f)
	for i := range int32(3) {
		p.(kafka.Expecter).Expect(tp(i), 0)
		f.Add(tp(i), 0, s)
	}
	sent := map[kafka.TopicPartition][]string{}
	var tickets []*kafka.Ticket
	var faults []*kfake.FaultHandle
	for range 60 {
		faults = append(faults, mischief(w, n, r)...)
		for range r.IntN(60) {
			tp, v := tp(int32(r.IntN(3))), fmt.Sprint(len(sent), "-", r.IntN(1e6))
			sent[tp] = append(sent[tp], v)
			send(ctx, t, p, tp, v)
		}
		p.Flush()
		if r.IntN(4) == 0 {
			tickets = append(tickets, p.Cut())
		}
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		s.until(ctx, t, func() bool { return true }) // gives bytes back
	}
	n.thaw()
	n.setRefuse(false)
	// What is left of them would be the answer to the test's own questions about the log.
	for _, fault := range faults {
		fault.Remove()
	}
	tickets = append(tickets, p.Cut())
	for _, k := range tickets {
		done(ctx, t, k)
		require.NoError(t, k.Err)
		require.Empty(t, k.Foreign)
	}
	last := tickets[len(tickets)-1]
	for tp, want := range sent {
		require.Equal(t, int64(len(want)), last.Ends[tp])
		s.until(ctx, t, func() bool { return s.next[tp] >= last.Ends[tp] || s.failed[tp] != nil })
		require.NoError(t, s.why(tp))
		require.Equal(t, want, s.got(tp), "as read along the way")
		require.Equal(t, want, values(w.log(ctx, tp)), "as it stands in the log")
	}
	n.freeze() // a process that hangs can be closed all the same
	time.Sleep(time.Second)
	began := time.Now()
	p.Close()
	f.Close()
	c.Close()
	assert.Zero(t, time.Since(began))
}

// mischief breaks something, or heals. It returns the fault that it has injected, if it was one.
func mischief(w *world, n *network, r *rand.Rand) []*kfake.FaultHandle {
	codes := []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, kerr.NotEnoughReplicas,
		kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.KafkaStorageError, kerr.UnknownLeaderEpoch}
	switch r.IntN(12) {
	case 0, 1:
		p := int32(r.IntN(3))
		require.NoError(w.t, w.cluster.MoveTopicPartition("t", p, int32(r.IntN(3))))
	case 2:
		w.cluster.ShufflePartitionLeaders()
	case 3, 4:
		n.cut(func() bool { return r.IntN(2) == 0 })
	case 5:
		return []*kfake.FaultHandle{w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.Metadata, kmsg.InitProducerID}, Err: codes[r.IntN(len(codes))], Count: 1 + r.IntN(6)})}
	case 6:
		left := 1 + r.IntN(4)
		key := []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.Metadata}[r.IntN(3)]
		w.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			if left--; left < 0 {
				w.cluster.DropControl()
				return nil, nil, false
			}
			w.cluster.KeepControl()
			return nil, errors.New("cut"), true
		})
	case 7:
		n.freeze()
	case 8, 9:
		n.thaw()
	case 10:
		n.setRefuse(true)
	case 11:
		n.setRefuse(false)
	}
	return nil
}
