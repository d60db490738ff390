package sarama

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch/batchtest"
)

// fetches answers fetches of partition 0 in the brokers' place. at tells which broker was asked.
func (w *world) fetches(answer func(at int32, rack string, p *kmsg.FetchResponseTopicPartition, offset int64)) {
	w.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if len(req.Topics) == 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		rt, rp := req.Topics[0], req.Topics[0].Partitions[0]
		st, sp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		st.Topic, sp.Partition = rt.Topic, rp.Partition
		answer(w.cluster.CurrentNode(), req.Rack, &sp, rp.FetchOffset)
		st.Partitions = append(st.Partitions, sp)
		resp.Topics = append(resp.Topics, st)
		return resp, nil, true
	})
}

// A leader answers a client that is nearer to another replica with the number of that, and no
// records. They are read there, until the replica refuses, or for five minutes.
func TestFetch_PreferredReplica(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
		defer cancel()
		c := w.newClient(func(cfg *Config) { cfg.Rack = "r1" })
		defer c.Close()
		var asked []int32 // one entry a change; the cluster's goroutine's
		refused, began := false, time.Now()
		w.fetches(func(at int32, rack string, p *kmsg.FetchResponseTopicPartition, offset int64) {
			assert.Equal(t, "r1", rack)
			if len(asked) == 0 || asked[len(asked)-1] != at {
				asked = append(asked, at)
			}
			p.HighWatermark, p.LastStableOffset = 10_000, 10_000
			switch {
			case at == 0 && time.Since(began) < 8*time.Minute:
				p.PreferredReadReplica = 1
			case at == 0:
				p.RecordBatches = batchtest.Batch(offset, 1, 0, -1, "leader")
			case offset == 10 && !refused:
				refused, p.ErrorCode = true, kerr.OffsetOutOfRange.Code // it is behind
			default:
				time.Sleep(time.Second)
				p.RecordBatches = batchtest.Batch(offset, 1, 0, -1, "replica")
			}
		})
		f, err := c.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(0), 0, s)
		s.until(ctx, t, func() bool { return s.next[tp(0)] > 20 })
		require.NoError(t, f.Healthy())
		s.until(ctx, t, func() bool {
			all := s.records[tp(0)]
			return string(all[len(all)-1].Value) == "leader"
		})
		w.cluster.Close()
		assert.Equal(t, []int32{0, 1, 0, 1, 0, 1, 0}, asked)
	})
}
