package segmented

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// rowsOf returns the local rows of a store and what it sends to its changelog, as hexadecimal text.
func rowsOf(t *testing.T, s graph.Store, do func(h storage.Handle)) (local, logged []string) {
	t.Helper()
	s.Name, s.Retention, s.Size = "s", time.Hour, 10*time.Millisecond
	e := memtable.New(nil)
	l, err := newStore(&s, e)
	require.NoError(t, err)
	h, err := Handle(&s, l, func() int64 { return 0 })
	require.NoError(t, err)
	do(h)
	_, err = l.Cut(func(c storage.Change) error {
		value := "null"
		if c.Value != nil {
			value = hex.EncodeToString(c.Value)
		}
		logged = append(logged, hex.EncodeToString(c.Key)+" -> "+value+" @ "+time.UnixMilli(c.Time).UTC().Format("05.000"))
		return nil
	})
	require.NoError(t, err)
	for e, err := range e.Scan(storage.Range{}) {
		require.NoError(t, err)
		local = append(local, hex.EncodeToString(e.Key)+" -> "+hex.EncodeToString(e.Value))
	}
	return local, logged
}

// TestFormat_GoldenBytes holds the formats in docs/format/store.md and docs/format/topics.md.
func TestFormat_GoldenBytes(t *testing.T) {
	t.Run("windows", func(t *testing.T) {
		local, logged := rowsOf(t, graph.Store{Kind: graph.Window, ByTime: true}, func(h storage.Handle) {
			_, err := h.Windows.Put([]byte("a\x00"), 250, []byte("v"), 253)
			require.NoError(t, err)
			require.NoError(t, h.Windows.Delete([]byte("b"), 300, 311))
		})
		assert.Equal(t, []string{
			"01 -> 01800000000000012c0000000000000000001b774001",
			"028000000000000000" + "6100ff0000" + "80000000000000fa" + "00000000" + " -> 76",
			"0380000000000000fa" + "6100ff0000" + "00000000" + " -> ",
		}, local)
		assert.Equal(t, []string{
			"6100" + "00000000000000fa" + "00000000" + " -> 76 @ 00.253",
			"62" + "000000000000012c" + "00000000" + " -> null @ 00.311",
		}, logged)
	})
	t.Run("windows with duplicates", func(t *testing.T) {
		_, logged := rowsOf(t, graph.Store{Kind: graph.Window, Duplicates: true}, func(h storage.Handle) {
			for range 2 {
				_, err := h.Windows.Put([]byte("a"), 1, []byte("v"), 2)
				require.NoError(t, err)
			}
		})
		assert.Equal(t, []string{
			"61" + "0000000000000001" + "00000001" + " -> 76 @ 00.002",
			"61" + "0000000000000001" + "00000002" + " -> 76 @ 00.002",
		}, logged)
	})
	t.Run("sessions", func(t *testing.T) {
		local, logged := rowsOf(t, graph.Store{Kind: graph.Session, ByTime: true}, func(h storage.Handle) {
			_, err := h.Sessions.Put([]byte("a"), 1, 2_000_000, []byte("v"), 3)
			require.NoError(t, err)
		})
		assert.Equal(t, []string{
			"01 -> 0180000000001e84800000000000000000001b774001",
			"028000000000000001" + "610000" + "80000000001e8480" + "8000000000000001" + " -> 76",
			"0380000000001e8480" + "610000" + "8000000000000001" + " -> ",
		}, local)
		assert.Equal(t, []string{"61" + "00000000001e8480" + "0000000000000001" + " -> 76 @ 00.003"}, logged)
	})
	t.Run("versions", func(t *testing.T) {
		local, logged := rowsOf(t, graph.Store{Kind: graph.Versioned}, func(h storage.Handle) {
			for at, v := range [][]byte{[]byte("v"), nil, []byte("w")} {
				_, _, err := h.Versions.Put([]byte("a"), v, int64(at))
				require.NoError(t, err)
			}
			_, _, err := h.Versions.Put([]byte("b"), nil, 7)
			require.NoError(t, err)
		})
		assert.Equal(t, []string{
			"01 -> 0180000000000000070000000000000000000493e000",
			"048000000000000000" + "610000" + "8000000000000001" + " -> 0176",
			"048000000000000000" + "610000" + "8000000000000002" + " -> 00",
			"0561 -> 0177", "0562 -> 00",
			"06800000000000000762 -> ",
		}, local)
		assert.Equal(t, []string{
			"61 -> 76 @ 00.000", "61 -> 77 @ 00.002", "61 -> null @ 00.001", "61 -> 77 @ 00.002", "62 -> null @ 00.007",
		}, logged, "what is latest is said again behind a deletion before it")
	})
}

func TestKeys_SortedAsUserKeys(t *testing.T) {
	keys := []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "ab", "\xff", "\xff\xff"}
	times := []int64{math.MinInt64, -1, 0, 1, 1 << 40, math.MaxInt64}
	var last []byte
	for _, k := range keys {
		for _, at := range times {
			b := appendTime(appendKey(nil, []byte(k)), at)
			assert.Negative(t, bytes.Compare(last, b), "%q at %d", k, at)
			last = b
		}
	}
}

// Short keys are written byte by byte and long ones in parts: both in the one format, which is that of zero
// bytes replaced.
func TestKeys_OfEachLengthAreWrittenAlike(t *testing.T) {
	for n := range 2*shortKey + 2 {
		for zeros := range 1 << min(n, 6) {
			key := bytes.Repeat([]byte{7}, n)
			for i := range 6 {
				if zeros>>i&1 == 1 {
					key[i*n/6], key[n-1-i*n/6] = 0, 0
				}
			}
			want := append(bytes.ReplaceAll(key, []byte{0}, []byte{0, 0xff}), 0, 0)
			require.Equal(t, want, appendKey(nil, key))
			back, rest, _, ok := splitKey(append(want, 1, 2), nil)
			require.True(t, ok)
			require.Equal(t, []byte{1, 2}, rest)
			require.True(t, bytes.Equal(key, back))
			_, _, _, ok = splitKey(want[:len(want)-1], nil)
			require.False(t, ok, "without its end it is no key")
		}
	}
}

// FuzzKeys checks that what is read of any bytes is written as those bytes, and that any row comes
// back.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("a\x00"), int64(5), int64(9), uint32(1), false)
	f.Add([]byte{}, int64(-1), int64(math.MaxInt64), uint32(0), true)
	f.Fuzz(func(t *testing.T, key []byte, start, end int64, seq uint32, session bool) {
		s := shape{session: session, interval: 7}
		for _, b := range [][]byte{key, append([]byte{timeClass}, key...)} {
			if r, _, ok := s.parseRowKey(b, nil); ok {
				require.Equal(t, b, s.appendTail(appendKey(nil, r.key), r))
			}
			if r, _, ok := s.parseIndexKey(b, nil); ok {
				require.Equal(t, b, s.appendIndexKey(nil, r))
			}
			if r, err := s.parseChangelogKey(b); err == nil {
				require.Equal(t, b, s.appendChangelogKey(nil, r))
			}
			UserKey(b)
		}
		r := row{key: append([]byte{}, key...), start: start, seq: seq}
		if session {
			r.end, r.seq = end, 0
		}
		back, _, ok := s.parseRowKey(s.appendRowKey(nil, r)[headLen:], nil)
		require.True(t, ok)
		require.Equal(t, r, back)
		require.Equal(t, r.key, UserKey(s.appendRowKey(nil, r)))
		back, _, ok = s.parseIndexKey(s.appendIndexKey(nil, r), nil)
		require.True(t, ok)
		require.Equal(t, r, back)
		back, err := s.parseChangelogKey(s.appendChangelogKey(nil, r))
		require.NoError(t, err)
		require.Equal(t, r, back)
	})
}

func TestSegmentInterval_IsThatOfKafkaStreams(t *testing.T) {
	for _, c := range []struct {
		kind            graph.StoreKind
		retention, want time.Duration
	}{
		{graph.Window, time.Second, time.Minute},
		{graph.Session, time.Hour, 30 * time.Minute},
		{graph.Versioned, time.Second, 2 * time.Second},
		{graph.Versioned, time.Minute, 20 * time.Second},
		{graph.Versioned, 2 * time.Minute, 24 * time.Second},
		{graph.Versioned, time.Hour, 5 * time.Minute},
		{graph.Versioned, 48 * time.Hour, 2 * time.Hour},
	} {
		assert.Equal(t, c.want, SegmentInterval(&graph.Store{Kind: c.kind, Retention: c.retention}))
	}
	assert.Equal(t, time.Second, SegmentInterval(&graph.Store{Kind: graph.Window, Retention: time.Hour, Segment: time.Second}))
	assert.EqualValues(t, -1, segmentOf(-1, 10))
	assert.EqualValues(t, -1, segmentOf(-10, 10))
	assert.EqualValues(t, -2, segmentOf(-11, 10))
	assert.EqualValues(t, 0, segmentOf(9, 10))
}

func TestSegmentInterval_ChangeRestoresTheStore(t *testing.T) {
	e := memtable.New(nil)
	s := &graph.Store{Name: "s", Kind: graph.Window, Retention: time.Hour, Changelog: true}
	open := func() storage.WindowBytes {
		l, err := newStore(s, e)
		require.NoError(t, err)
		h, err := Handle(s, l, nil)
		require.NoError(t, err)
		return h.Windows
	}
	isPresent := func(w storage.WindowBytes) bool {
		_, _, ok, err := w.Get([]byte("k"), 5)
		require.NoError(t, err)
		return ok
	}
	fill := func() {
		l, err := newStore(s, e)
		require.NoError(t, err)
		_, err = l.put(row{key: []byte("k"), start: 5}, []byte("v"), 1)
		require.NoError(t, err)
		_, err = l.Cut(func(storage.Change) error { return nil })
		require.NoError(t, err)
	}
	fill()
	assert.True(t, isPresent(open()))
	s.ByTime = true
	assert.False(t, isPresent(open()), "there is no index")
	fill()
	s.ByTime = false
	assert.True(t, isPresent(open()), "an index more does no harm")
	s.Retention *= 2
	assert.False(t, isPresent(open()))
	fill()
	s.Retention, s.Changelog = time.Hour, false
	_, err := newStore(s, e)
	assert.ErrorContains(t, err, "no changelog to be restored from")
}

func TestRestore_ForeignRecordIsAnError(t *testing.T) {
	l, err := newStore(&graph.Store{Name: "s", Kind: graph.Session, Retention: time.Hour}, memtable.New(nil))
	require.NoError(t, err)
	err = l.Restore([]storage.Change{{Key: []byte("too short"), Value: []byte("v")}}, storage.Checkpoint{})
	assert.ErrorIs(t, err, errKey)
}

// TestChangelogRows_OverwriteForeignRecords checks what is sent for keys that another process has
// written into a changelog.
func TestChangelogRows_OverwriteForeignRecords(t *testing.T) {
	again := func(l *Store, key []byte) (out []string) {
		require.NoError(t, l.ChangelogRows(key, 99, func(c storage.Change) error {
			v := string(c.Value)
			if c.Value == nil {
				v = "null"
			}
			out = append(out, v+" @ "+time.UnixMilli(c.Time).UTC().Format("05.000"))
			return nil
		}))
		return out
	}
	w, err := newStore(&graph.Store{Name: "s", Kind: graph.Window, Retention: time.Hour}, memtable.New(nil))
	require.NoError(t, err)
	_, err = w.put(row{key: []byte("k"), start: 5}, []byte("v"), 7)
	require.NoError(t, err)
	assert.Equal(t, []string{"v @ 00.007"}, again(w, w.shape.appendChangelogKey(nil, row{key: []byte("k"), start: 5})))
	assert.Equal(t, []string{"null @ 00.099"}, again(w, w.shape.appendChangelogKey(nil, row{key: []byte("k"), start: 6})))
	assert.Equal(t, []string{"null @ 00.099"}, again(w, []byte("k")))

	table, err := newStore(&graph.Store{Name: "s", Kind: graph.Versioned, Retention: time.Hour}, memtable.New(nil))
	require.NoError(t, err)
	for at, v := range []string{"a", "b", "c"} {
		_, _, err = table.putVersion([]byte("k"), []byte(v), int64(at))
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"a @ 00.000", "b @ 00.001", "c @ 00.002"}, again(table, []byte("k")))
	assert.Equal(t, []string{"null @ 00.099"}, again(table, []byte("other")))
}

// TestRestore_DropsExpiredRows restores a changelog that has much more than the store keeps.
func TestRestore_DropsExpiredRows(t *testing.T) {
	was := restoreLag
	t.Cleanup(func() { restoreLag = was })
	restoreLag = 1
	e := memtable.New(nil)
	l, err := newStore(&graph.Store{Name: "s", Kind: graph.Window, Retention: time.Hour, ByTime: true}, e)
	require.NoError(t, err)
	const batch, hour = 1000, int64(time.Hour / time.Millisecond)
	for n := range int64(50) {
		var changes []storage.Change
		for i := range int64(batch) {
			key := l.shape.appendChangelogKey(nil, row{key: binary.BigEndian.AppendUint32(nil, uint32(i)), start: n*hour/2 + i})
			changes = append(changes, storage.Change{Key: key, Value: []byte("v")})
		}
		require.NoError(t, l.Restore(changes, storage.Checkpoint{Offset: n + 1}))
		rows, err := e.Len()
		require.NoError(t, err)
		require.LessOrEqual(t, rows, int64(2*4*batch+1), "rows and index, of four half hours at most")
	}
}
