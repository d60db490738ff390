package operator_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// skip is a policy that skips every record.
func skip(error, func() error) error { return retry.ErrSkipped }

func open[V any](t *testing.T, v serde.Serde[V]) *operator.Rows[string, V] {
	t.Helper()
	r, err := operator.Open("s", storage.Bytes(memtable.New(nil)), serde.Serde[string](serde.String), v, skip)
	require.NoError(t, err)
	return r
}

func TestRows(t *testing.T) {
	r := open(t, serde.Serde[string](serde.String))
	_, _, ok, err := r.Get("a")
	require.NoError(t, err)
	assert.False(t, ok)
	require.NoError(t, r.Save("1", 7))
	v, at, ok, err := r.Get("a")
	require.NoError(t, err)
	assert.Equal(t, []any{"1", int64(7), true}, []any{v, at, ok})
	require.NoError(t, r.Delete(8))
	_, _, ok, err = r.Get("a")
	require.NoError(t, err)
	assert.False(t, ok)
}

func TestRows_ErrorsOfRecordsAndOfStores(t *testing.T) {
	r := open(t, serde.Serde[string](serde.String))
	_, _, _, err := r.Load(strings.Repeat("k", storage.MaxKey+1))
	require.NoError(t, err)
	require.ErrorIs(t, r.Save("v", 1), retry.ErrSkipped, "a key that is too long is the record's failure")

	broken := errors.New("not a number")
	picky := open(t, serde.Func(func(d []byte, v string) ([]byte, error) { return append(d, v...), nil },
		func([]byte) (string, error) { return "", broken }))
	_, _, _, err = picky.Load("a")
	require.NoError(t, err)
	require.NoError(t, picky.Save("x", 1))
	_, _, _, err = picky.Load("a")
	require.ErrorIs(t, err, broken)
	assert.NotErrorIs(t, err, retry.ErrSkipped, "a row that does not decode is the store's")
	assert.ErrorContains(t, err, `store "s", key "a"`)
}

func TestFold_InitialValueIsOldValueUnlessNil(t *testing.T) {
	count := &operator.Fold[string, string, int64]{
		Rows: open(t, serde.Serde[int64](serde.Int64)), Start: func() int64 { return 0 }, Old: true,
		Add: func(_, _ string, n int64, _ bool) int64 { return n + 1 },
	}
	res, err := count.Record("a", "x", 5)
	require.NoError(t, err)
	assert.Equal(t, operator.FoldResult[int64]{New: 1, Time: 5, Old: 0, HasOld: true}, res)
	res, err = count.Record("a", "x", 3)
	require.NoError(t, err)
	assert.Equal(t, operator.FoldResult[int64]{New: 2, Time: 5, Old: 1, HasOld: true, Existed: true}, res)

	list := &operator.Fold[string, string, []string]{
		Rows: open(t, serde.JSON[[]string]()), Start: func() []string { return nil }, Old: true,
		Add: func(_, v string, l []string, _ bool) []string { return append(l, v) },
	}
	got, err := list.Record("a", "x", 5)
	require.NoError(t, err)
	assert.False(t, got.HasOld)
}

func change(v string, gone bool) wire.Change[string, string] {
	return wire.Change[string, string]{Record: topology.Record[string, string]{Key: "a", Value: v, Tombstone: gone, Time: time.UnixMilli(1)}}
}

func TestUpsert(t *testing.T) {
	u := &operator.Upsert[string, string]{Rows: open(t, serde.Serde[string](serde.String)), Old: true, Filtered: true}
	_, ok, err := u.Change(change("", true))
	require.NoError(t, err)
	assert.False(t, ok, "no row before and none after is no change of a filter's result")
	c, ok, err := u.Change(change("1", false))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.False(t, c.HasOld)
	c, ok, err = u.Change(change("", true))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "1", c.Old)

	u.Filtered = false
	_, ok, err = u.Change(change("", true))
	require.NoError(t, err)
	assert.True(t, ok)
}

func TestLookup_Outcomes(t *testing.T) {
	rows := open(t, serde.Serde[string](serde.String))
	l := &operator.Lookup[string, string, string, string]{Get: rows.Get, Join: func(v, row string, _ bool) string { return v + row }}
	for _, tt := range []struct {
		r    topology.Record[string, string]
		left bool
		want operator.Outcome
	}{
		{topology.Record[string, string]{NoKey: true, Value: "v"}, false, operator.NoKey},
		{topology.Record[string, string]{NoKey: true, Tombstone: true}, false, operator.NoKey},
		{topology.Record[string, string]{NoKey: true, Tombstone: true}, true, operator.NoValue},
		{topology.Record[string, string]{NoKey: true, Value: "v"}, true, operator.Joined},
		{topology.Record[string, string]{Key: "a", Value: "v"}, false, operator.NoRow},
		{topology.Record[string, string]{Key: "a", Value: "v"}, true, operator.Joined},
		{topology.Record[string, string]{Key: "a", Tombstone: true}, false, operator.NoValue},
	} {
		l.Left = tt.left
		_, got, err := l.Record(tt.r)
		require.NoError(t, err)
		assert.Equal(t, tt.want, got, "%+v left=%v", tt.r, tt.left)
	}
}
