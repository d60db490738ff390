package operator_test

import (
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/buffer"
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

type text = topology.Record[string, string]

// counted counts the rows that scans of a store visit.
type counted struct {
	storage.Bytes
	visited int
}

func (c *counted) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) {
		for e, err := range c.Bytes.Scan(r) {
			c.visited++
			if !yield(e, err) {
				return
			}
		}
	}
}

// outer is an outer join of strings.
type outer struct {
	time        int64
	rows        *counted
	left, right *operator.JoinSide[string, string, string, string]
	out         []string
}

func strings2(t *testing.T) *codec.Codec[string] {
	s, err := codec.New(serde.Serde[string](serde.String), "s", true, nil)
	require.NoError(t, err)
	return s
}

// savedRow is a copy of a row's value and time from before the current record was folded into it.
func savedRow(t *testing.T, key *codec.Codec[string], retention int64) operator.JoinWindow[string, string] {
	s := &graph.Store{Name: "w", Kind: graph.Window, Duplicates: true, Retention: time.Duration(retention) * time.Millisecond}
	e, err := segmented.Wrap(s, memtable.New(nil))
	require.NoError(t, err)
	h, err := segmented.Handle(s, e, nil)
	require.NoError(t, err)
	return operator.JoinWindow[string, string]{Name: "w", Rows: h.Windows, Key: key, Value: strings2(t)}
}

func newOuter(t *testing.T, before, after, grace int64) *outer {
	o := &outer{time: -1, rows: &counted{Bytes: memtable.New(nil)}}
	key := strings2(t)
	l, r := savedRow(t, key, before+after+grace+1), savedRow(t, key, before+after+grace+1)
	w := &operator.Unmatched[string, string]{Name: "waiting", Rows: o.rows, Key: key}
	w.OpenFor[operator.Left], w.OpenFor[operator.Right] = after+grace, before+grace
	out := func(r text) error {
		o.out = append(o.out, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Time.UnixMilli()))
		return nil
	}
	o.left = &operator.JoinSide[string, string, string, string]{Side: operator.Left, Time: &o.time, Window: l, OtherWindow: r, Before: before, After: after,
		Unmatched: w, Out: out, Pair: func(l, r string) string { return l + "+" + r }, Unpaired: func(l string) string { return l + "+" }}
	o.right = &operator.JoinSide[string, string, string, string]{Side: operator.Right, Time: &o.time, Window: r, OtherWindow: l, Before: after, After: before,
		Unmatched: w, Out: out, Pair: func(r, l string) string { return l + "+" + r }, Unpaired: func(r string) string { return "+" + r }}
	w.Unpaired[operator.Left] = func(b []byte) (string, error) { return string(b) + "+", nil }
	w.Unpaired[operator.Right] = func(b []byte) (string, error) { return "+" + string(b), nil }
	return o
}

func (o *outer) take(t *testing.T, side *operator.JoinSide[string, string, string, string], key, value string, at int64) string {
	o.out = nil
	d, err := side.Record(text{Key: key, Value: value, Time: time.UnixMilli(at)})
	require.NoError(t, err)
	require.Equal(t, operator.Joined, d)
	return strings.Join(o.out, " ")
}

// The left side looks a second ahead, the right side not at all: right records are due at the next
// record, among left ones that wait.
func TestUnmatched_VisitsOnlyClosedRows(t *testing.T) {
	const n = 1000
	for _, tt := range []struct {
		name          string
		before, after int64
		most          int
	}{
		{"both sides look as far", 0, 0, 2 * n}, {"left looks further", 0, n, 5 * n}, {"right looks further", n, 0, 5 * n},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOuter(t, tt.before, tt.after, 0)
			sent := 0
			for i := range int64(n) {
				o.take(t, o.left, fmt.Sprint("l", i), "v", 2*i)
				sent += len(o.out)
				o.take(t, o.right, fmt.Sprint("r", i), "v", 2*i+1)
				sent += len(o.out)
			}
			assert.GreaterOrEqual(t, sent, n-1)
			assert.LessOrEqual(t, o.rows.visited, tt.most, "each waiting record is passed a few times, and not at each record")
			visited := o.rows.visited
			for i := range int64(n) {
				o.take(t, o.left, fmt.Sprint("x", i), "v", 2*n-1)
			}
			assert.LessOrEqual(t, o.rows.visited-visited, 2, "nothing is due while stream time stands still")
			o.take(t, o.right, "end", "v", 10*n)
			o.take(t, o.right, "end", "v", 20*n)
			left, err := o.rows.Len()
			require.NoError(t, err)
			assert.EqualValues(t, 1, left)
		})
	}
}

func TestUnmatched_SidesWithDifferentWindows(t *testing.T) {
	o := newOuter(t, 2, 20, 0)
	assert.Empty(t, o.take(t, o.right, "a", "1", 10))
	assert.Empty(t, o.take(t, o.left, "b", "2", 11))
	assert.Empty(t, o.take(t, o.right, "c", "3", 11))
	assert.Equal(t, "a=+1@10", o.take(t, o.left, "d", "4", 13))
	assert.Equal(t, "c=+3@11", o.take(t, o.left, "e", "5", 14))
	assert.Empty(t, o.take(t, o.right, "f", "6", 31))
	assert.Equal(t, "b=2+@11", o.take(t, o.right, "g", "7", 32))
	assert.Equal(t, "d=4+@13 e=5+@14 f=+6@31 g=+7@32", o.take(t, o.right, "h", "8", 50))

	again := newOuter(t, 2, 20, 0) // as after a restart: what waits is found
	again.rows.Bytes, again.time = o.rows.Bytes, o.time
	assert.Equal(t, "h=+8@50", again.take(t, again.left, "i", "9", 53))
}

// The bytes are those of TimestampedKeyAndJoinSideSerializer, LeftOrRightValueSerializer and
// ListSerializer.
func TestUnmatched_RowsAreThoseOfKafkaStreams(t *testing.T) {
	o := newOuter(t, 10, 10, 0)
	o.take(t, o.left, "k", "v", 258)
	o.take(t, o.left, "k", "wx", 258)
	o.take(t, o.right, "q", "y", 258)
	var got []string
	for e, err := range o.rows.Scan(storage.Range{}) {
		require.NoError(t, err)
		got = append(got, hex.EncodeToString(e.Key)+" "+hex.EncodeToString(e.Value))
	}
	assert.Equal(t, []string{
		"0000000000000102" + "00" + "71" + " " + "01" + "00000001" + "00000002" + "0079",
		"0000000000000102" + "01" + "6b" + " " + "01" + "00000002" + "00000002" + "0176" + "00000003" + "017778",
	}, got)
}

func TestUnmatched_RefusesOtherRows(t *testing.T) {
	for _, row := range [][2]string{{"short", ""}, {"00000001\x01k", "no list"}, {"00000001\x01k", "\x01\x00\x00\x00\x02\x00\x00\x00\x02\x01v"},
		{"00000001\x01k", "\x01\x00\x00\x00\x01\x00\x00\x00\x00"}, {"00000001\x01k", "\x01\x00\x00\x00\x01\x00\x00\x00\x09\x01v"}} {
		o := newOuter(t, 0, 0, 0)
		require.NoError(t, o.rows.Put([]byte(row[0]), []byte(row[1]), 1))
		_, err := o.left.Record(text{Key: "a", Value: "b", Time: time.UnixMilli(1 << 62)})
		require.ErrorContains(t, err, `store "waiting"`)
	}
}

// patient is a join with grace that notes what is joined.
func patient(t *testing.T, rows storage.Bytes, wait int64, at *int64, out *[]string) *operator.GraceBuffer[string, string] {
	q, err := buffer.OpenQueue("b", rows)
	require.NoError(t, err)
	return &operator.GraceBuffer[string, string]{Name: "b", Wait: wait, Time: at, Queue: q, Key: strings2(t), Value: strings2(t), Join: func(r text) error {
		h, _ := r.Headers.Get("h")
		*out = append(*out, fmt.Sprintf("%s=%s@%d %s %s/%d", r.Key, r.Value, r.Time.UnixMilli(), h, r.Source().Topic, r.Source().Offset))
		return nil
	}}
}

func TestGraceBuffer(t *testing.T) {
	rows, now, offset := memtable.New(nil), int64(-1), int64(0)
	var out []string
	g := patient(t, rows, 10, &now, &out)
	take := func(key, value string, at int64) string {
		out = nil
		offset++
		r := text{Key: key, Value: value, NoKey: key == "", Tombstone: value == "", Time: time.UnixMilli(at),
			Headers: topology.Headers{{Name: "h", Value: fmt.Append(nil, "h", offset)}}}
		require.NoError(t, g.Record(r.From(topology.Source{Topic: "in", Offset: offset})))
		return strings.Join(out, ", ")
	}
	assert.Empty(t, take("b", "1", 20))
	assert.Empty(t, take("b", "2", 20))
	assert.Empty(t, take("a", "3", 20))
	assert.Equal(t, "a=4@10 h4 in/4", take("a", "4", 10), "due as it comes")
	assert.Equal(t, "a=5@9 h5 in/5", take("a", "5", 9), "a late record is joined at once, and releases nothing")
	assert.Equal(t, "=6@99 h6 in/6", take("", "6", 99), "what has no key does not wait and moves no time")
	assert.Equal(t, "a=@99 h7 in/7", take("a", "", 99), "nor what has no value")
	assert.Empty(t, take("c", "8", 21))
	g = patient(t, rows, 10, &now, &out) // as after a restart
	assert.Empty(t, take("b", "9", 20))
	assert.Equal(t, "a=3@20 h3 in/3, b=1@20 h1 in/1, b=2@20 h2 in/2, b=9@20 h9 in/9", take("c", "10", 30))
	assert.Equal(t, "c=8@21 h8 in/8, c=10@30 h10 in/10", take("c", "11", 40))
}
