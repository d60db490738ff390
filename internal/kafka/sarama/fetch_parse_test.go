package sarama

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch/batchtest"
)

func FuzzParseFetchResponse(f *testing.F) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = fetchVersion
	st := kmsg.NewFetchResponseTopic()
	st.Topic = "t"
	sp := kmsg.NewFetchResponseTopicPartition()
	sp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 1, FirstOffset: 2}}
	sp.RecordBatches = batchtest.Batch(0, 1, 0, -1, "a")
	st.Partitions = append(st.Partitions, sp, sp)
	resp.Topics = append(resp.Topics, st)
	f.Add(resp.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseFetchResponse(b, func(_ string, p *fetchedPartition) { assert.LessOrEqual(t, len(p.records), len(b)) })
	})
}

func TestFetch_ParsesResponse(t *testing.T) {
	resp := kmsg.NewPtrFetchResponse()
	resp.Version, resp.SessionID = fetchVersion, 5
	for _, name := range []string{"a", "b"} {
		st := kmsg.NewFetchResponseTopic()
		st.Topic = name
		for p := range int32(2) {
			sp := kmsg.NewFetchResponseTopicPartition()
			sp.Partition, sp.ErrorCode, sp.HighWatermark, sp.LastStableOffset, sp.LogStartOffset = p, int16(p), 10, 9, 8
			sp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 1, FirstOffset: 2}}
			sp.RecordBatches = []byte(name)
			sp.CurrentLeader.LeaderID, sp.PreferredReadReplica = 3, 4 // the first is a tagged field
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	got := map[kafka.TopicPartition]fetchedPartition{}
	session, err := parseFetchResponse(resp.AppendTo(nil), func(topic string, fp *fetchedPartition) {
		got[kafka.TopicPartition{Topic: topic, Partition: fp.index}] = *fp
	})
	require.NoError(t, err)
	require.EqualValues(t, 5, session)
	require.Len(t, got, 4)
	fp := got[kafka.TopicPartition{Topic: "b", Partition: 1}]
	assert.Equal(t, fetchedPartition{index: 1, code: 1, highWatermark: 10, lastStable: 9, logStart: 8, aborted: []recordbatch.AbortedTransaction{{ProducerID: 1, FirstOffset: 2}}, preferredReplica: 4, records: []byte("b")}, fp)
	resp.ErrorCode = 7
	_, err = parseFetchResponse(resp.AppendTo(nil), func(string, *fetchedPartition) {})
	require.ErrorIs(t, err, kafka.ErrUnavailable)
}
