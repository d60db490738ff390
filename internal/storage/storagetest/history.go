package storagetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
)

// A history drives an engine with random steps beside a model: for each epoch that is not settled,
// all rows as they were before it; and the changelog, as Kafka would have accepted it.
type history struct {
	t      testing.TB
	store  Store
	engine storage.Engine
	rand   *rand.Rand
	steps  int

	rows      map[string]Row
	before    []map[string]Row // rows before each cut epoch, oldest first, and before the current one
	cuts      []cutEpoch
	changelog []storage.Change // the changelog of settled epochs and restores
	touched   map[string]bool

	snapshots    []*openSnapshot
	reads, ended int // of snapshots
}

type cutEpoch struct {
	number  uint64
	changes []storage.Change
}

func newHistory(t testing.TB, s Store, seed uint64) *history {
	if s.Steps == 0 {
		s.Steps = 3000
	}
	h := &history{
		t: t, store: s, engine: s.Open(t), rand: rand.New(rand.NewPCG(seed, 1)),
		rows: map[string]Row{}, touched: map[string]bool{},
	}
	h.before = []map[string]Row{{}}
	return h
}

func (h *history) close() {
	require.NoError(h.t, h.engine.Close(false))
	h.unavailable()
}

func (h *history) run() {
	type step struct {
		weight int
		do     func()
	}
	all := []step{
		{400, h.put}, {120, h.delete}, {300, h.get}, {20, h.scan}, {10, h.scanAndWrite},
		{15, h.cut}, {12, h.settle}, {3, h.undo}, {2, h.restore}, {4, h.flush}, {2, h.check},
	}
	if _, ok := h.engine.(storage.AheadReader); ok {
		all = append(all, step{20, h.readAhead})
	}
	if h.store.Reopen != nil {
		all = append(all, step{2, h.reopen})
	}
	if _, ok := h.engine.(storage.Snapshotter); ok {
		all = append(all, step{4, h.snapshot}, step{30, h.readSnapshot}, step{2, h.closeSnapshot})
	}
	if h.rand.IntN(8) == 0 {
		all = append(all, step{1, h.truncate})
	}
	sum := 0
	for _, s := range all {
		sum += s.weight
	}
	for h.steps = range h.store.Steps {
		n := h.rand.IntN(sum)
		for _, s := range all {
			if n -= s.weight; n < 0 {
				s.do()
				break
			}
		}
	}
	h.check()
	if h.reads+h.ended > 0 {
		h.t.Logf("%d reads of snapshots, %d were ended", h.reads, h.ended)
	}
}

func (h *history) key() []byte {
	switch h.rand.IntN(20) {
	case 0:
		return []byte{}
	case 1:
		return bytes.Repeat([]byte{0xff}, h.rand.IntN(4))
	case 2:
		return fmt.Appendf(nil, "a long common start, then %d", h.rand.IntN(300))
	case 3:
		return bytes.Repeat([]byte("k"), 1+h.rand.IntN(2000))
	}
	return fmt.Appendf(nil, "k%03d", h.rand.IntN(400))
}

func (h *history) value() []byte {
	n := h.rand.IntN(40)
	switch h.rand.IntN(60) {
	case 0:
		n = h.rand.IntN(5000)
	case 1:
		if h.store.Large {
			n = h.rand.IntN(300_000)
		}
	}
	return bytes.Repeat([]byte{byte('a' + h.rand.IntN(26))}, n)
}

func (h *history) put() { h.write(h.key(), h.value()) }

func (h *history) delete() { h.write(h.key(), nil) }

func (h *history) write(key, value []byte) {
	at := h.rand.Int64N(1 << 40)
	h.touched[string(key)] = true
	if value == nil {
		require.NoError(h.t, h.engine.Delete(key, at))
		delete(h.rows, string(key))
		return
	}
	require.NoError(h.t, h.engine.Put(key, value, at))
	h.rows[string(key)] = Row{string(key), string(value), at}
}

func (h *history) get() { h.getKey(h.key()) }

func (h *history) getKey(key []byte) {
	value, at, ok, err := h.engine.Get(key)
	require.NoError(h.t, err)
	want, present := h.rows[string(key)]
	require.Equal(h.t, present, ok, "key %q at step %d", key, h.steps)
	if ok {
		require.Equal(h.t, want, Row{string(key), string(value), at}, "step %d", h.steps)
	}
}

// readAhead reads keys ahead. Some of them are read at once, others later or never.
func (h *history) readAhead() {
	keys := make([][]byte, 1+h.rand.IntN(40))
	for i := range keys {
		keys[i] = h.key()
	}
	h.engine.(storage.AheadReader).ReadAhead(keys)
	for _, key := range keys {
		switch h.rand.IntN(4) {
		case 0:
			h.write(key, h.value())
		case 1:
		default:
			h.getKey(key)
		}
	}
}

func (h *history) anyRange() storage.Range {
	r := storage.Range{FromAfter: h.rand.IntN(2) == 0, ToBefore: h.rand.IntN(2) == 0, Backward: h.rand.IntN(2) == 0}
	if h.rand.IntN(4) > 0 {
		r.From = h.key()
	}
	if h.rand.IntN(4) > 0 {
		r.To = h.key()
	}
	if h.rand.IntN(4) == 0 {
		backward := r.Backward
		r = storage.PrefixRange(h.key())
		r.Backward = backward
	}
	return r
}

// next returns the row that a scan of r visits after last, nil at the start.
func (h *history) next(r storage.Range, last *string) (Row, bool) {
	var best *Row
	for k, row := range h.rows {
		if !r.Contains([]byte(k)) || last != nil && (r.Backward && k >= *last || !r.Backward && k <= *last) {
			continue
		}
		if best == nil || r.Backward && k > best.Key || !r.Backward && k < best.Key {
			best = &row
		}
	}
	if best == nil {
		return Row{}, false
	}
	return *best, true
}

func (h *history) scan() {
	r, want := h.anyRange(), []Row{}
	for _, k := range slices.Sorted(maps.Keys(h.rows)) {
		if r.Contains([]byte(k)) {
			want = append(want, h.rows[k])
		}
	}
	if r.Backward {
		slices.Reverse(want)
	}
	require.Equal(h.t, want, Rows(h.t, h.engine, r), "range %+v at step %d", r, h.steps)
}

// scanAndWrite writes and reads in the middle of a scan, and stops anywhere.
func (h *history) scanAndWrite() {
	r, stop := h.anyRange(), h.rand.IntN(60)
	var last *string
	for e, err := range h.engine.Scan(r) {
		require.NoError(h.t, err)
		want, ok := h.next(r, last)
		got := Row{string(e.Key), string(e.Value), e.Time}
		require.True(h.t, ok, "%q comes after the end, range %+v at step %d", e.Key, r, h.steps)
		require.Equal(h.t, want, got, "range %+v at step %d", r, h.steps)
		last = &got.Key
		for range h.rand.IntN(3) {
			h.put()
			h.get()
		}
		switch h.rand.IntN(8) {
		case 0:
			h.delete()
		case 1:
			h.write([]byte(got.Key), nil)
		case 2:
			h.scan()
		}
		if stop--; stop < 0 {
			return
		}
	}
	_, more := h.next(r, last)
	require.False(h.t, more, "a scan of %+v ended early at step %d", r, h.steps)
}

func (h *history) cut() {
	if len(h.cuts) == 3 {
		return
	}
	c := cutEpoch{}
	deleting := false
	emitted := map[string]bool{}
	number, err := h.engine.Cut(func(ch storage.Change) error {
		require.False(h.t, emitted[string(ch.Key)], "%q is emitted twice", ch.Key)
		require.False(h.t, deleting && ch.Value != nil, "a put after a deletion")
		deleting = ch.Value == nil
		emitted[string(ch.Key)] = true
		row, ok := h.rows[string(ch.Key)]
		require.Equal(h.t, ok, ch.Value != nil, "key %q at step %d", ch.Key, h.steps)
		if ok {
			require.Equal(h.t, row, Row{string(ch.Key), string(ch.Value), ch.Time})
		}
		c.changes = append(c.changes, storage.Change{Key: bytes.Clone(ch.Key), Value: bytes.Clone(ch.Value), Time: ch.Time})
		return nil
	})
	require.NoError(h.t, err)
	require.Equal(h.t, h.touched, emitted, "step %d", h.steps)
	require.Zero(h.t, h.engine.Dirty())
	if len(h.cuts) > 0 {
		require.Greater(h.t, number, h.cuts[len(h.cuts)-1].number)
	}
	c.number = number
	h.cuts = append(h.cuts, c)
	h.before = append(h.before, maps.Clone(h.rows))
	clear(h.touched)
}

func (h *history) settle() {
	if len(h.cuts) == 0 {
		return
	}
	n := 1 + h.rand.IntN(len(h.cuts))
	for _, c := range h.cuts[:n] {
		h.changelog = append(h.changelog, c.changes...)
	}
	h.engine.Settle(h.cuts[n-1].number, Checkpoint(int64(len(h.changelog))))
	h.cuts, h.before = h.cuts[n:], h.before[n:]
}

func (h *history) undo() {
	require.NoError(h.t, h.engine.Undo())
	h.undoModel()
	h.check()
}

// undoModel makes the model what is settled.
func (h *history) undoModel() {
	h.rows = maps.Clone(h.before[0])
	h.before, h.cuts = h.before[:1], nil
	clear(h.touched)
}

// restore brings changes from elsewhere, as a standby gets them.
func (h *history) restore() {
	h.undo()
	var batch []storage.Change
	for range h.rand.IntN(50) {
		c := storage.Change{Key: h.key(), Time: h.rand.Int64N(1 << 40)}
		if h.rand.IntN(3) > 0 {
			c.Value = h.value()
		}
		batch = append(batch, c)
	}
	h.apply(h.rows, batch)
	h.before[0] = maps.Clone(h.rows)
	h.changelog = append(h.changelog, batch...)
	require.NoError(h.t, h.engine.Restore(batch, Checkpoint(int64(len(h.changelog)))))
}

func (h *history) apply(rows map[string]Row, changes []storage.Change) {
	for _, c := range changes {
		if c.Value == nil {
			delete(rows, string(c.Key))
		} else {
			rows[string(c.Key)] = Row{string(c.Key), string(c.Value), c.Time}
		}
	}
}

func (h *history) flush() { require.NoError(h.t, h.engine.Flush(h.rand.IntN(2) == 0)) }

func (h *history) truncate() {
	require.NoError(h.t, h.engine.Truncate())
	h.unavailable()
	h.before[0], h.changelog = map[string]Row{}, nil
	h.undoModel()
}

// reopen closes the engine, in one way or the other, and replays the changelog from the checkpoint
// that it finds.
func (h *history) reopen() {
	flush := h.rand.IntN(2) == 0
	require.NoError(h.t, h.engine.Close(flush))
	h.unavailable()
	h.engine = h.store.Reopen(h.t)
	h.undoModel()
	c, ok := h.engine.Checkpoint()
	if ok {
		require.Equal(h.t, Checkpoint(c.Offset), c)
	}
	require.LessOrEqual(h.t, c.Offset, int64(len(h.changelog)), "the checkpoint never passes what is settled")
	if flush {
		require.EqualValues(h.t, len(h.changelog), c.Offset, "all that is settled is on disk, step %d", h.steps)
	}
	require.NoError(h.t, h.engine.Restore(h.changelog[c.Offset:], Checkpoint(int64(len(h.changelog)))))
	h.check()
}

func (h *history) check() {
	want := []Row{}
	for _, k := range slices.Sorted(maps.Keys(h.rows)) {
		want = append(want, h.rows[k])
	}
	require.Equal(h.t, want, Rows(h.t, h.engine, storage.Range{}), "step %d", h.steps)
	n, err := h.engine.Len()
	require.NoError(h.t, err)
	require.EqualValues(h.t, len(want), n)
	require.NoError(h.t, h.engine.Healthy())
}
