package store_test

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// task opens stores in memory, as a task does, at a record time that the test sets.
type task struct {
	stores map[string]storage.Bytes
	plain  bool
	now    int64
}

func newTask() *task { return &task{stores: map[string]storage.Bytes{}, plain: true, now: 5} }

func (o *task) OpenStore(name string) (storage.Handle, error) {
	if name == "missing" {
		return storage.Handle{}, errors.New(`the step does not use store "missing"`)
	}
	if o.stores[name] == nil {
		o.stores[name] = memtable.New(nil)
	}
	return storage.Handle{Bytes: o.stores[name], Time: func() int64 { return o.now }, Plain: o.plain}, nil
}

func text[K, V any](t *testing.T, rows iter.Seq2[store.Row[K, V], error]) string {
	t.Helper()
	var out []string
	for r, err := range rows {
		require.NoError(t, err)
		out = append(out, fmt.Sprintf("%v=%v", r.Key, r.Value))
	}
	return strings.Join(out, " ")
}

func filled(t *testing.T, keys ...string) store.KeyValue[string, string] {
	kv := store.NewKeyValue("kv", serde.String, serde.String).In(newTask())
	for i, k := range keys {
		require.NoError(t, kv.Put(k, fmt.Sprint(i)))
	}
	return kv
}

func TestKeyValue_GetPutDelete(t *testing.T) {
	kv := store.NewKeyValue("kv", serde.String, serde.String).In(newTask())
	_, ok, err := kv.Get("a")
	require.NoError(t, err)
	assert.False(t, ok)
	require.NoError(t, kv.Put("a", "1"))
	require.NoError(t, kv.Put("", ""))
	v, ok, err := kv.Get("")
	require.NoError(t, err)
	assert.True(t, ok, "an empty key with an empty value is a row")
	assert.Empty(t, v)
	old, present, err := kv.PutIfAbsent("a", "2")
	require.NoError(t, err)
	assert.True(t, present)
	assert.Equal(t, "1", old)
	_, present, err = kv.PutIfAbsent("b", "3")
	require.NoError(t, err)
	assert.False(t, present)
	require.NoError(t, kv.Delete("a"))
	require.NoError(t, kv.Delete("never there"))
	n, err := kv.Len()
	require.NoError(t, err)
	assert.EqualValues(t, 2, n)
	assert.Equal(t, "= b=3", text(t, kv.All()))
}

func TestKeyValue_Ranges(t *testing.T) {
	kv := filled(t, "", "a", "ab", "abc", "b", "c")
	type bound = store.Bound[string]
	for _, tt := range []struct {
		name   string
		bounds []bound
		want   string
	}{
		{"no bound visits everything", nil, "=0 a=1 ab=2 abc=3 b=4 c=5"},
		{"from includes its key", []bound{store.From("ab")}, "ab=2 abc=3 b=4 c=5"},
		{"above leaves its key out", []bound{store.Above("ab")}, "abc=3 b=4 c=5"},
		{"to includes its key", []bound{store.To("ab")}, "=0 a=1 ab=2"},
		{"below leaves its key out", []bound{store.Below("ab")}, "=0 a=1"},
		{"both ends", []bound{store.To("b"), store.From("a")}, "a=1 ab=2 abc=3 b=4"},
		{"the empty key is a bound", []bound{store.Above("")}, "a=1 ab=2 abc=3 b=4 c=5"},
		{"nothing lies between bounds that meet", []bound{store.Above("b"), store.Below("b")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, text(t, kv.Range(tt.bounds...)))
			rows := strings.Fields(text(t, kv.Backward(tt.bounds...)))
			for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
				rows[i], rows[j] = rows[j], rows[i]
			}
			assert.Equal(t, tt.want, strings.Join(rows, " "))
		})
	}
}

func TestKeyValue_Prefix(t *testing.T) {
	kv := filled(t, "", "a", "ab", "abc", "b", "\xff", "\xffz")
	assert.Equal(t, "ab=2 abc=3", text(t, store.Prefix(kv, "ab")))
	assert.Equal(t, "abc=3 ab=2", text(t, store.PrefixBackward(kv, "ab")))
	assert.Equal(t, "\xff=5 \xffz=6", text(t, store.Prefix(kv, "\xff")))
	assert.Len(t, strings.Fields(text(t, store.Prefix(kv, ""))), 7)
	assert.Empty(t, text(t, store.Prefix(kv, "nothing")))

	quoted := store.NewKeyValue("quoted", serde.JSON[string](), serde.String).In(newTask())
	for _, err := range store.Prefix(quoted, "a") {
		assert.ErrorContains(t, err, "does not preserve prefixes")
	}
}

func TestKeyValue_ScanMayReadAndWrite(t *testing.T) {
	kv := filled(t, "a", "b", "c")
	var seen []string
	for r, err := range kv.Range(store.From("a"), store.To("d")) {
		require.NoError(t, err)
		seen = append(seen, r.Key)
		_, _, err := kv.Get("zzzzzzzzz")
		require.NoError(t, err)
		if r.Key == "a" {
			require.NoError(t, kv.Delete("b"))
			require.NoError(t, kv.Put("d", "new"))
		}
	}
	assert.Equal(t, []string{"a", "c", "d"}, seen)
}

func TestKeyValue_TimesOfRows(t *testing.T) {
	o := newTask()
	o.plain = false
	ref := store.NewTimestamped("ts", serde.String, serde.Int64)
	kv := ref.In(o)
	require.NoError(t, kv.Put("given", store.Timestamped[int64]{Value: 1, Time: time.UnixMilli(77)}))
	require.NoError(t, kv.Put("record's", store.Timestamped[int64]{Value: 2}))
	v, _, err := kv.Get("given")
	require.NoError(t, err)
	assert.Equal(t, store.Timestamped[int64]{Value: 1, Time: time.UnixMilli(77)}, v)
	for r, err := range kv.All() {
		require.NoError(t, err)
		assert.Equal(t, r.Value.Time, r.Time)
	}
	v, _, err = kv.Get("record's")
	require.NoError(t, err)
	assert.EqualValues(t, 5, v.Time.UnixMilli())

	o.plain = true
	_, _, err = ref.In(o).Get("a")
	assert.ErrorContains(t, err, "it has no times")
}

func TestKeyValue_PlainRowsHaveTheRecordTime(t *testing.T) {
	o := newTask()
	require.NoError(t, store.NewKeyValue("kv", serde.String, serde.String).In(o).Put("a", "1"))
	_, at, _, err := o.stores["kv"].Get([]byte("a"))
	require.NoError(t, err)
	assert.EqualValues(t, 5, at)
	for r := range store.NewKeyValue("kv", serde.String, serde.String).In(o).All() {
		assert.True(t, r.Time.IsZero())
	}
}

func TestKeyValue_ErrorsNameStoreAndKey(t *testing.T) {
	o := newTask()
	require.NoError(t, store.NewKeyValue("kv", serde.String, serde.String).In(o).Put("k", "not a number"))
	kv := store.NewKeyValue("kv", serde.String, serde.Int64).In(o)
	_, _, err := kv.Get("k")
	assert.ErrorContains(t, err, `store "kv", key "k": decode the value`)
	n := 0
	for _, err := range kv.All() {
		n++
		assert.ErrorContains(t, err, `store "kv", key "k": decode the value`)
	}
	assert.Equal(t, 1, n)
	assert.ErrorIs(t, kv.Put(strings.Repeat("x", store.MaxKey+1), 1), store.ErrKeyTooLong)
	for _, err := range kv.Range(store.From("a"), store.Above("b")) {
		assert.ErrorContains(t, err, "two bounds at one end")
	}
	for _, err := range kv.Range(store.Bound[string]{}) {
		assert.ErrorContains(t, err, "a bound is zero")
	}
}

func TestKeyValue_OpenErrorIsReturnedByEachCall(t *testing.T) {
	for want, kv := range map[string]store.KeyValue[string, string]{
		"does not use store":    store.NewKeyValue("missing", serde.String, serde.String).In(newTask()),
		"opened with nil":       store.NewKeyValue("s", serde.String, serde.String).In(nil),
		"the reference is zero": store.KeyValueRef[string, string]{}.In(newTask()),
		"its serde is nil":      store.NewKeyValue[string, string]("kv", nil, serde.String).In(newTask()),
	} {
		_, _, err := kv.Get("a")
		require.ErrorContains(t, err, want)
		_, _, err = kv.PutIfAbsent("a", "b")
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, kv.Put("a", "b"), want)
		require.ErrorContains(t, kv.Delete("a"), want)
		_, err = kv.Len()
		require.ErrorContains(t, err, want)
		for _, err := range kv.All() {
			require.ErrorContains(t, err, want)
		}
		for _, err := range store.Prefix(kv, "a") {
			require.ErrorContains(t, err, want)
		}
	}
}

func TestKeyValue_Options(t *testing.T) {
	spec := store.NewKeyValue("kv", serde.String, serde.String, store.InMemory(), store.TopicConfig("segment.bytes", "1024")).StoreSpec()
	require.NoError(t, spec.Err)
	assert.True(t, spec.Settings.InMemory)
	assert.Equal(t, map[string]string{"segment.bytes": "1024"}, spec.Settings.Config)

	for want, opts := range map[string][]store.Option{
		"store.OnDemand does not apply": {store.OnDemand()},
		"option 1 is zero":              {{}},
		"has no key":                    {store.TopicConfig("", "x")},
		`sets "a" twice: "1" and "2"`:   {store.TopicConfig("a", "1"), store.TopicConfig("a", "2")},
		"configures the changelog, but with store.NoChangelog there is none": {store.NoChangelog(), store.TopicConfig("a", "1")},
	} {
		assert.ErrorContains(t, store.NewKeyValue("kv", serde.String, serde.String, opts...).StoreSpec().Err, want)
	}
	assert.ErrorContains(t, store.NewKeyValue[string, string]("kv", nil, nil).StoreSpec().Err, "no serde for its keys")
}

func TestKeyValue_BytesOutliveTheNextCall(t *testing.T) {
	kv := store.NewKeyValue("kv", serde.Bytes, serde.Bytes).In(newTask())
	require.NoError(t, kv.Put([]byte("k"), []byte("aaaa")))
	v, _, err := kv.Get([]byte("k"))
	require.NoError(t, err)
	require.NoError(t, kv.Put([]byte("k"), []byte("bbbb")))
	assert.Equal(t, "aaaa", string(v))
}

func BenchmarkGetPut(b *testing.B) {
	kv := store.NewKeyValue("kv", serde.String, serde.Int64).In(newTask())
	b.ReportAllocs()
	for b.Loop() {
		n, _, err := kv.Get("some key")
		if err != nil {
			b.Fatal(err)
		}
		if err := kv.Put("some key", n+1); err != nil {
			b.Fatal(err)
		}
	}
}

func TestKeyValue_GetAndPutDoNotAllocate(t *testing.T) {
	kv := store.NewTimestamped("kv", serde.String, serde.Int64).In(&task{stores: map[string]storage.Bytes{}})
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		v, _, _ := kv.Get("some key")
		v.Value++
		_ = kv.Put("some key", v)
	}))
}
