package kafka_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
)

func TestLimits_OfTopicConfig(t *testing.T) {
	none := kafka.LimitsOf(nil)
	assert.Equal(t, kafka.Limits{Before: math.MaxInt64, After: math.MaxInt64}, none)
	assert.False(t, none.Timed())
	assert.NoError(t, none.CheckTime(math.MaxInt64/2, 0))

	l := kafka.LimitsOf(map[string]string{
		"max.message.bytes": "1000", "message.timestamp.type": "CreateTime",
		"message.timestamp.after.max.ms": "3600000", "message.timestamp.before.max.ms": "9223372036854775807",
	})
	assert.Equal(t, kafka.Limits{Bytes: 1000, Before: math.MaxInt64, After: 3600000}, l)
	assert.True(t, l.Timed())
	const now = 1_600_000_000_000
	require.NoError(t, l.CheckTime(now+3600000, now))
	require.NoError(t, l.CheckTime(0, now))
	err := l.CheckTime(now+3600001, now)
	require.ErrorIs(t, err, kafka.ErrTimestamp)
	assert.ErrorContains(t, err, "message.timestamp.after.max.ms of the topic is 3600000")

	l = kafka.LimitsOf(map[string]string{"message.timestamp.difference.max.ms": "500"}) // before Kafka 3.6
	require.NoError(t, l.CheckTime(now-500, now))
	require.ErrorContains(t, l.CheckTime(now-501, now), "message.timestamp.before.max.ms of the topic is 500")
	require.ErrorIs(t, l.CheckTime(now+501, now), kafka.ErrTimestamp)

	l = kafka.LimitsOf(map[string]string{"message.timestamp.type": "LogAppendTime", "message.timestamp.after.max.ms": "1"})
	assert.False(t, l.Timed(), "the broker writes its own times")
	assert.False(t, kafka.LimitsOf(map[string]string{"message.timestamp.after.max.ms": "odd"}).Timed())
}
