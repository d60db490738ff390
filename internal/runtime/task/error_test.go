package task_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/stream"
)

func TestPanic_NamesRecordAndHasStack(t *testing.T) {
	boom := errors.New("boom")
	r := start(t, func(b *stream.Builder) {
		in := stream.From(b, topic("in"))
		stream.To(stream.Filter(in, func(_, v string) bool {
			if v == "bad" {
				panic(boom)
			}
			return true
		}).Named("picky"), topic("out"))
	})
	require.NoError(t, r.Add(batch("in", 41, "a=good@1", "a=bad@2")))
	n, err := r.Process(10)
	assert.Equal(t, 1, n)
	require.ErrorIs(t, err, boom)
	var p *task.Panic
	require.ErrorAs(t, err, &p)
	assert.Contains(t, string(p.Stack), "error_test.go")
	assert.Regexp(t, `^task 0_0, filter "picky" \(.*task_test.go:.*\), topic in\[0\] offset 42: panic: boom`, err.Error())
	assert.Equal(t, []string{"out[0] a=good@1"}, r.out.drain())
	assert.Equal(t, int64(42), r.Cut(false)[kafka.TopicPartition{Topic: "in"}].Offset, "the record is not done")
}
