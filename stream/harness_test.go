package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

var in = stream.NewTopic("in", serde.String, serde.String)

func text(name string) stream.Topic[string, string] {
	return stream.NewTopic(name, serde.String, serde.String)
}

func build(t testing.TB, program func(b *stream.Builder)) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	program(b)
	top, err := b.Build()
	require.NoError(t, err)
	return top
}

// ran is what a program made of the records of a test.
type ran struct {
	out     []string
	dropped map[string]int
	d       *testdriver.Driver
}

// run sends records, written as in record, through f, and collects what comes out as render writes
// it. Their times count up from 1.
func run[K, V any](t testing.TB, f func(stream.KStream[string, string]) stream.KStream[K, V], records ...string) *ran {
	t.Helper()
	x := &ran{}
	top := build(t, func(b *stream.Builder) {
		stream.ForEach(f(stream.From(b, in)), func(r stream.Record[K, V]) { x.out = append(x.out, render(r)) })
	})
	x.d = testdriver.New(t, top)
	for i, r := range records {
		testdriver.Input(x.d, in).SendRecord(record(r).At(time.UnixMilli(int64(i + 1))))
	}
	x.dropped = x.d.Dropped()
	return x
}

// record reads "key=value". Without "=" it is a tombstone; the key "-" is none.
func record(s string) (r stream.Record[string, string]) {
	k, v, ok := strings.Cut(s, "=")
	r = stream.Record[string, string]{Key: k, Value: v, Tombstone: !ok}
	if k == "-" {
		return r.Keyless()
	}
	return r
}

// render writes "key=value@time", and headers behind it.
func render[K, V any](r stream.Record[K, V]) string {
	s := fmt.Sprint(r.Key)
	if r.NoKey {
		s = "-"
	}
	if !r.Tombstone {
		s += "=" + fmt.Sprint(r.Value)
	}
	s += fmt.Sprint("@", r.Time.UnixMilli())
	for _, h := range r.Headers {
		s += fmt.Sprintf(" %s:%s", h.Name, h.Value)
	}
	return s
}
