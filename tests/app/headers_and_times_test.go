package app_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// What a record carries besides key and value gets through steps, repartition topics and sinks.
func TestHeadersAndTimes_PassThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
		builder := stream.NewBuilder()
		s := stream.SelectKey(stream.MapValues(stream.From(builder, in), strings.ToUpper), func(_, v string) string { return v })
		stream.To(stream.Repartition(s, "by-value"), out)
		at := time.UnixMilli(1_234_567_890)
		want := []broker.Header{{Name: "trace", Value: []byte("1-2")}, {Name: "null"}, {Name: "empty", Value: []byte{}}, {Name: "trace", Value: []byte("again")}}
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte("v"), Time: at, Headers: want}))
		runToEnd(t, build(t, builder), config(t, b))
		r := await(t, b, "out", 1)[0]
		assert.Equal(t, "V", string(r.Key))
		assert.Equal(t, at.UnixMilli(), r.Time.UnixMilli())
		assert.Equal(t, want, r.Headers)
	})
}
