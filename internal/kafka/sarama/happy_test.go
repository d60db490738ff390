package sarama

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
)

func TestProduceAndFetch(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		f, err := w.c.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		for i := range int32(3) {
			f.Add(tp(i), 0, s)
		}
		n := 0
		for round := range 10 {
			for i := range 300 {
				v := fmt.Sprint(n)
				n++
				require.NoError(t, p.Send(ctx, tp(int32(i%3)), kafka.ProduceRecord{Key: []byte("k"), Value: []byte(v), Time: int64(1000 + round)}))
			}
			p.Flush()
		}
		k := done(ctx, t, p.Cut())
		require.NoError(t, k.Err)
		assert.Equal(t, map[kafka.TopicPartition]int64{tp(0): 1000, tp(1): 1000, tp(2): 1000}, k.Ends)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 1000 && s.next[tp(1)] == 1000 && s.next[tp(2)] == 1000 })
		for i := range int32(3) {
			for j, r := range s.records[tp(i)] {
				require.Equal(t, fmt.Sprint(j*3+int(i)), string(r.Value))
				require.Equal(t, int64(j), r.Offset)
				require.Equal(t, int64(1000+j/100), r.Time)
			}
		}
		require.NoError(t, p.Healthy())
		require.NoError(t, f.Healthy())
	})
}

func TestNullAndEmptyStayApart(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		recs := []kafka.ProduceRecord{
			{},
			{Key: []byte{}, Value: []byte{}, Time: -1},
			{Key: []byte("k"), Headers: []kafka.Header{{Name: "a"}, {Name: "", Value: []byte{}}, {Name: "c", Value: []byte("x")}}, Time: 5},
			{Value: []byte("v"), Time: 3},
		}
		for _, r := range recs {
			require.NoError(t, p.Send(ctx, tp(0), r))
		}
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		got := w.log(ctx, tp(0))
		require.Len(t, got, len(recs))
		for i, r := range recs {
			assert.Equal(t, kafka.Record{Key: r.Key, Value: r.Value, Headers: r.Headers, Offset: int64(i), Time: r.Time}, got[i])
		}
	})
}

func TestGroupAndOffsets(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		g, err := w.c.Group()
		require.NoError(t, err)
		defer g.Close()
		o, err := w.c.Offsets()
		require.NoError(t, err)
		defer o.Close()
		j, err := g.Join(ctx, kafka.JoinRequest{Group: "g", ProtocolType: "consumer", Protocol: "ours", Metadata: []byte("me"),
			SessionTimeout: 10 * time.Second, RebalanceTimeout: 20 * time.Second})
		require.NoError(t, err)
		assert.Equal(t, j.MemberID, j.LeaderID)
		assert.Equal(t, map[string][]byte{j.MemberID: []byte("me")}, j.Members)
		mine, err := g.Sync(ctx, "g", j.MemberID, j.Generation, map[string][]byte{j.MemberID: []byte("all")})
		require.NoError(t, err)
		assert.Equal(t, "all", string(mine))
		require.NoError(t, g.Heartbeat(ctx, "g", j.MemberID, j.Generation))
		require.NoError(t, o.Commit(ctx, "g", j.MemberID, j.Generation, map[kafka.TopicPartition]kafka.OffsetMeta{tp(1): {Offset: 7, Metadata: "m"}}))
		require.ErrorIs(t, o.Commit(ctx, "g", j.MemberID, j.Generation+1, map[kafka.TopicPartition]kafka.OffsetMeta{tp(1): {Offset: 8}}), kafka.ErrIllegalGeneration)
		require.ErrorIs(t, o.Commit(ctx, "g", "other", j.Generation, map[kafka.TopicPartition]kafka.OffsetMeta{tp(1): {Offset: 8}}), kafka.ErrUnknownMember)
		at, err := o.Fetch(ctx, "g", []kafka.TopicPartition{tp(0), tp(1)})
		require.NoError(t, err)
		assert.Equal(t, map[kafka.TopicPartition]kafka.OffsetMeta{tp(0): {Offset: -1}, tp(1): {Offset: 7, Metadata: "m"}}, at)
		require.NoError(t, g.Leave(ctx, "g", j.MemberID, "done"))
		require.ErrorIs(t, g.Heartbeat(ctx, "g", j.MemberID, j.Generation), kafka.ErrUnknownMember)
		require.NoError(t, w.ad.DeleteGroup(ctx, "g"))
		require.NoError(t, w.ad.DeleteGroup(ctx, "g"))
	})
}

func TestAdmin(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		spec := kafka.TopicSpec{Name: "new", Partitions: 4, Replication: -1, Config: map[string]string{"cleanup.policy": "compact"}}
		require.NoError(t, w.ad.CreateTopic(ctx, spec))
		require.ErrorIs(t, w.ad.CreateTopic(ctx, spec), kafka.ErrTopicExists)
		ts, err := w.ad.Topics(ctx, "new", "no such")
		require.NoError(t, err)
		require.Len(t, ts, 1)
		assert.Equal(t, 4, ts["new"].Partitions)
		assert.NotZero(t, ts["new"].ID)
		all, err := w.ad.Topics(ctx)
		require.NoError(t, err)
		assert.Len(t, all, 2)
		conf, err := w.ad.TopicConfig(ctx, "new")
		require.NoError(t, err)
		assert.Equal(t, "compact", conf["cleanup.policy"])
		_, err = w.ad.TopicConfig(ctx, "no such")
		require.ErrorIs(t, err, kafka.ErrUnknownTopic)

		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		for i := range 10 {
			require.NoError(t, p.Send(ctx, tp(2), kafka.ProduceRecord{Value: []byte("v"), Time: int64(100 * i)}))
			require.NoError(t, done(ctx, t, p.Cut()).Err)
		}
		at := func(pos int64) int64 {
			o, err := w.ad.ListOffsets(ctx, kafka.ReadCommitted, map[kafka.TopicPartition]int64{tp(2): pos, tp(1): kafka.Earliest})
			require.NoError(t, err)
			assert.Zero(t, o[tp(1)])
			return o[tp(2)]
		}
		assert.Equal(t, int64(10), at(kafka.Latest))
		assert.Equal(t, int64(0), at(kafka.Earliest))
		assert.Equal(t, int64(4), at(350))
		assert.Equal(t, int64(10), at(5000), "a time past the end is the end")
		require.NoError(t, w.ad.DeleteRecords(ctx, map[kafka.TopicPartition]int64{tp(2): 6}))
		assert.Equal(t, int64(6), at(kafka.Earliest))
		require.NoError(t, w.ad.DeleteTopics(ctx, "new", "no such"))
		ts, err = w.ad.Topics(ctx, "new")
		require.NoError(t, err)
		assert.Empty(t, ts)
		require.ErrorIs(t, w.ad.DeleteRecords(ctx, map[kafka.TopicPartition]int64{{Topic: "new"}: 6}), kafka.ErrUnknownTopic)
	})
}
