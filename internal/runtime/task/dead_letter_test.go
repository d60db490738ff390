package task_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

func TestDeadLetter_HasRecordAsRead(t *testing.T) {
	g := graphWith(t, fails(1))
	step(g).Policy = failure.DeadLetter("letters")
	r := startGraph(t, g, func(c *task.Config) { r := c.Out.(*broker); r.partitions = map[string]int{"letters": 3} })
	b := batch("in", 5, "null=bad@2")
	b.Records[0].Headers = []kafka.Header{{Name: "trace", Value: []byte("1")}, {Name: "none"}}
	r.run(t, b)
	assert.Equal(t, []string{"letters[0] null=bad@2"}, r.out.drain())
	assert.Equal(t, []kafka.Header{
		{Name: "trace", Value: []byte("1")}, {Name: "none"},
		{Name: "__streams.errors.exception", Value: []byte("*errors.errorString")},
		{Name: "__streams.errors.message", Value: []byte("no luck")},
		{Name: "__streams.errors.stacktrace", Value: []byte(`task 0_0, map-values "step" (main.go:31)`)},
		{Name: "__streams.errors.topic", Value: []byte("in")},
		{Name: "__streams.errors.partition", Value: []byte("0")},
		{Name: "__streams.errors.offset", Value: []byte("5")},
	}, r.out.headers)
	assert.Len(t, b.Records[0].Headers, 2, "the record itself is left alone")
}

func TestDeadLetter_CannotBeWritten(t *testing.T) {
	g := graphWith(t, fails(1))
	step(g).Policy = failure.DeadLetter("letters")
	r := startGraph(t, g)
	r.out.limit = 2
	require.NoError(t, r.Add(batch("in", 5, "k=bad@2")))
	_, err := r.Process(1)
	require.ErrorIs(t, err, kafka.ErrTooLarge)
	assert.Contains(t, err.Error(), `dead letter to topic "letters": `)
	assert.Contains(t, err.Error(), "no luck")
}
