package table_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0: another one each time")

func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	return rand.New(rand.NewPCG(s, 1))
}

// TestOracleAggregate compares an aggregation, and a filter of it, with what follows from the whole history of the key, computed anew
// after each record.
func TestOracleAggregate(t *testing.T) {
	r := random(t)
	gone := func(_, agg string) bool { return strings.HasSuffix(agg, "d") }
	kept := func(_, agg string) bool { return len(agg)%2 == 1 }
	var agg text
	d := drive(t, func(b *stream.Builder) {
		agg = table.Aggregate(stream.GroupByKey(stream.From(b, texts)), "agg", table.Zero, func(_, v, a string) string { return a + v }).DeleteWhen(gone)
		stream.To(table.ToStream(agg), results)
		stream.To(table.ToStream(table.Filter(agg, kept)), stream.NewTopic("kept", results.Plan().Key, results.Plan().Value))
	})
	var history []record
	for range 400 {
		x := record{Key: string(rune('a' + r.IntN(4))), Value: string(rune('a' + r.IntN(5))), Time: time.UnixMilli(r.Int64N(100))}
		switch r.IntN(12) {
		case 0:
			x.Tombstone, x.Value = true, ""
		case 1:
			x.NoKey, x.Key = true, ""
		}
		history = append(history, x)
		testdriver.Input(d, texts).SendRecord(x)
		if r.IntN(50) == 0 {
			d.Restart()
		}
		want, at, row, changed := recompute(history, x.Key, gone)
		got := testdriver.Output(d, results).Take()
		if x.NoKey || x.Tombstone || !changed {
			require.Empty(t, got)
			continue
		}
		require.Len(t, got, 1)
		require.Equal(t, fmt.Sprint(x.Key, want, !row, at), fmt.Sprint(got[0].Key, got[0].Value, got[0].Tombstone, got[0].Time.UnixMilli()))
		v, ok, err := agg.Store().In(d).Get(x.Key)
		require.NoError(t, err)
		require.Equal(t, row, ok)
		require.Equal(t, want, v)
	}
	rows := map[string]string{}
	for _, k := range []string{"a", "b", "c", "d"} {
		if v, _, row, _ := recompute(history, k, gone); row && kept(k, v) {
			rows[k] = v
		}
	}
	require.Equal(t, rows, testdriver.Table(testdriver.Output(d, stream.NewTopic("kept", results.Plan().Key, results.Plan().Value))))
}

// recompute folds the history of a key, and says whether the last record of it changed anything.
func recompute(history []record, key string, gone func(k, v string) bool) (agg string, at int64, row, changed bool) {
	for _, x := range history {
		if changed = !x.NoKey && !x.Tombstone && x.Key == key; !changed {
			continue
		}
		ms := x.Time.UnixMilli()
		if row {
			ms = max(ms, at)
		} else {
			agg = ""
		}
		at, agg = ms, agg+x.Value
		if row = !gone(key, agg); !row {
			agg = ""
		}
	}
	return agg, at, row, changed
}
