package store_test

import (
	"iter"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

// errs returns the errors of a scan, which has no rows besides.
func errs[R any](t *testing.T, rows iter.Seq2[R, error]) (all []error) {
	for _, err := range rows {
		require.Error(t, err)
		all = append(all, err)
	}
	return all
}

// reversed checks that each form of range from a to b is refused, whose encodings stand the other
// way round.
func reversed[K comparable](key serde.Serde[K], a, b K, instead string) func(*testing.T) {
	return func(t *testing.T) {
		in := stream.NewTopic("in", key, serde.String)
		rows := store.NewKeyValue("rows", key, serde.String)
		wins := store.NewWindow("wins", key, serde.String, time.Second, time.Hour)
		sess := store.NewSession("sess", key, serde.String, time.Hour)
		builder := stream.NewBuilder()
		var inside []error
		stream.Process(stream.From(builder, in), "put", func(c *stream.Context[K, string]) (func(stream.Record[K, string]) error, error) {
			r, w, s := rows.In(c), wins.In(c), sess.In(c)
			return func(x stream.Record[K, string]) error {
				require.NoError(t, r.Put(x.Key, x.Value))
				require.NoError(t, w.Put(x.Key, x.Time, x.Value))
				require.NoError(t, s.Put(x.Key, x.Time, x.Time, x.Value))
				inside = errs(t, r.Range(store.From(a), store.To(b)))
				return nil
			}, nil
		}, rows, wins, sess)
		top, err := builder.Build()
		require.NoError(t, err)
		d := testdriver.New(t, top, testdriver.Partitions(2))
		testdriver.Input(d, in).Send(a, "x")
		testdriver.Input(d, in).Send(b, "x")
		var always time.Time
		all := [][]error{
			inside,
			errs(t, rows.In(d).Range(store.From(a), store.To(b))),
			errs(t, rows.In(d).Range(store.Below(b), store.Above(a))),
			errs(t, rows.In(d).Backward(store.From(a), store.To(b))),
			errs(t, wins.In(d).All(always, always, store.From(a), store.To(b))),
			errs(t, wins.In(d).AllBackward(always, always, store.From(a), store.Below(b))),
			errs(t, sess.In(d).All(always, always, store.From(a), store.To(b))),
			errs(t, sess.In(d).AllBackward(always, always, store.From(a), store.To(b))),
		}
		for i, errs := range all {
			require.Len(t, errs, 1, "form %d", i)
			assert.ErrorIs(t, errs[0], store.ErrRangeReversed)
			assert.ErrorContains(t, errs[0], `store "`)
			assert.ErrorContains(t, errs[0], "the order of the bytes")
			assert.ErrorContains(t, errs[0], instead)
		}
		for _, err := range rows.In(d).Range(store.From(a)) {
			require.NoError(t, err)
			return
		}
		t.Fatal("a range from the lower bound finds its row")
	}
}

func TestRange_FromNegativeToPositiveIsRefused(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"int16":   reversed(serde.Int16, -5, 5, "To the greatest negative"),
		"int32":   reversed(serde.Int32, -1, 0, "To the greatest negative"),
		"int64":   reversed(serde.Int64, -5, 5, "To the greatest negative"),
		"float32": reversed(serde.Float32, -1.5, 2, "From the greatest negative"),
		"float64": reversed(serde.Float64, math.Inf(-1), math.Inf(1), "From the greatest negative"),
		"floats":  reversed(serde.Float64, -7, -5, "From the greatest negative"), // both are negative, and greater ones come first
		"time":    reversed(serde.Time, time.UnixMilli(-1).UTC(), time.UnixMilli(1).UTC(), "times before 1970"),
		"text":    reversed(serde.String, "9", "10", "fixed width"),
		"json":    reversed(serde.JSON[int](), 9, 10, "fixed width"),
	} {
		t.Run(name, test)
	}
}

func TestRange_EmptyIsNoError(t *testing.T) {
	in := stream.NewTopic("in", serde.String, serde.String)
	rows := store.NewKeyValue("rows", serde.String, serde.String)
	b := stream.NewBuilder()
	stream.Process(stream.From(b, in), "put", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		s := rows.In(c)
		return func(r stream.Record[string, string]) error { return s.Put(r.Key, r.Value) }, nil
	}, rows)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	testdriver.Input(d, in).Send("k", "v")
	for _, bounds := range [][]store.Bound[string]{
		{store.From("a"), store.To("b")},
		{store.Above("k"), store.Below("k")},
		{store.From("k"), store.Below("k")},
		{store.From("l")},
	} {
		assert.Empty(t, errs(t, rows.In(d).Range(bounds...)))
		assert.Empty(t, errs(t, rows.In(d).Backward(bounds...)))
	}
	n := 0
	for _, err := range rows.In(d).Range(store.From("k"), store.To("k")) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 1, n)
	long := errs(t, rows.In(d).Range(store.From(strings.Repeat("z", 30_000)), store.To("a")))
	require.Len(t, long, 1)
	assert.Less(t, len(long[0].Error()), 600, "keys do not stand whole in errors")
}

// What the error says to do finds all rows, in the order of their bytes.
func TestRange_NegativeKeysInTheirOwnRange(t *testing.T) {
	ints := store.NewKeyValue("ints", serde.Int64, serde.String).In(newTask())
	floats := store.NewKeyValue("floats", serde.Float64, serde.String).In(newTask())
	for _, k := range []int64{-9, -5, -1, 0, 5, 9} {
		require.NoError(t, ints.Put(k, ""))
		require.NoError(t, floats.Put(float64(k), ""))
	}
	assert.Equal(t, "-5= -1=", text(t, ints.Range(store.From(int64(-5)), store.To(int64(-1)))))
	assert.Equal(t, "0= 5=", text(t, ints.Range(store.From(int64(0)), store.To(int64(5)))))
	assert.Equal(t, "-1= -5=", text(t, floats.Range(store.From(-math.SmallestNonzeroFloat64), store.To(-5.0))))
	assert.Equal(t, "0= 5=", text(t, floats.Range(store.From(0.0), store.To(5.0))))
}
