package join_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: another one each time")

// TestOracleStreamTable compares both joins with the latest row in the whole history of the table's topic.
func TestOracleStreamTable(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	r := rand.New(rand.NewPCG(s, 1))
	outers := stream.NewTopic("outers", serde.String, serde.String)
	d := drive(t, func(b *stream.Builder) {
		in, rows := stream.From(b, left), from(b)
		stream.To(join.StreamTable(in, rows, "inner", func(v, row string) string { return v + row }), joined)
		stream.To(join.StreamTableLeft(in, rows, "left", func(v, row string, ok bool) string { return fmt.Sprint(v, row, ok) }), outers)
	}, testdriver.Partitions(2))
	var history []stream.Record[string, string]
	for i := range 400 {
		x := stream.Record[string, string]{Key: string(rune('a' + r.IntN(5))), Value: fmt.Sprint(i), Time: time.UnixMilli(r.Int64N(100))}
		if r.IntN(5) == 0 {
			x.Tombstone, x.Value = true, ""
		}
		if r.IntN(10) == 0 {
			x.NoKey, x.Key = true, ""
		}
		if r.IntN(50) == 0 {
			d.Restart()
		}
		if r.IntN(2) == 0 {
			testdriver.Input(d, rows).SendRecord(x)
			history = append(history, x)
			continue
		}
		testdriver.Input(d, left).SendRecord(x)
		row, ok := latest(history, x)
		var wantInner, wantOuter []string
		if !x.Tombstone {
			if ok {
				wantInner = []string{fmt.Sprint(x.Key, x.Value+row, x.Time.UnixMilli())}
			}
			wantOuter = []string{fmt.Sprint(x.Key, fmt.Sprint(x.Value, row, ok), x.Time.UnixMilli())}
		}
		require.Equal(t, wantInner, outputs(d, joined))
		require.Equal(t, wantOuter, outputs(d, outers))
	}
}

// latest returns the value of the last record of the table's topic with the key of x, if that is a row.
func latest(history []stream.Record[string, string], x stream.Record[string, string]) (row string, ok bool) {
	for _, h := range history {
		if !x.NoKey && !h.NoKey && h.Key == x.Key {
			row, ok = h.Value, !h.Tombstone
		}
	}
	return row, ok
}

func outputs(d *testdriver.Driver, topic stream.Topic[string, string]) (out []string) {
	for _, r := range testdriver.Output(d, topic).Take() {
		out = append(out, fmt.Sprint(r.Key, r.Value, r.Time.UnixMilli()))
	}
	return out
}
