package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
)

// A history drives an engine with random steps beside a model: for each epoch that is not settled, all rows as they were
// before it; and the changelog, as Kafka would have accepted it.
type history struct {
	t     testing.TB
	s     Store
	e     store.Engine
	rand  *rand.Rand
	steps int

	rows    map[string]Row
	before  []map[string]Row // rows before each cut epoch, oldest first, and before the current one
	cuts    []cutEpoch
	log     []store.Change // the changelog of settled epochs and restores
	touched map[string]bool
}

type cutEpoch struct {
	number  uint64
	changes []store.Change
}

func newHistory(t testing.TB, s Store, seed uint64) *history {
	if s.Steps == 0 {
		s.Steps = 3000
	}
	h := &history{t: t, s: s, e: s.Open(t), rand: rand.New(rand.NewPCG(seed, 1)), rows: map[string]Row{}, touched: map[string]bool{}}
	h.before = []map[string]Row{{}}
	return h
}

func (h *history) close() { require.NoError(h.t, h.e.Close(false)) }

func (h *history) run() {
	type step struct {
		weight int
		do     func()
	}
	all := []step{
		{400, h.put}, {120, h.delete}, {300, h.get}, {20, h.scan}, {10, h.scanAndWrite},
		{15, h.cut}, {12, h.settle}, {3, h.undo}, {2, h.restore}, {4, h.flush}, {2, h.check},
	}
	if h.s.Reopen != nil {
		all = append(all, step{2, h.reopen})
	}
	if h.rand.IntN(8) == 0 {
		all = append(all, step{1, h.truncate})
	}
	sum := 0
	for _, s := range all {
		sum += s.weight
	}
	for h.steps = range h.s.Steps {
		n := h.rand.IntN(sum)
		for _, s := range all {
			if n -= s.weight; n < 0 {
				s.do()
				break
			}
		}
	}
	h.check()
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
		if h.s.Large {
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
		require.NoError(h.t, h.e.Delete(key, at))
		delete(h.rows, string(key))
		return
	}
	require.NoError(h.t, h.e.Put(key, value, at))
	h.rows[string(key)] = Row{string(key), string(value), at}
}

func (h *history) get() {
	key := h.key()
	value, at, ok, err := h.e.Get(key)
	require.NoError(h.t, err)
	want, there := h.rows[string(key)]
	require.Equal(h.t, there, ok, "key %q at step %d", key, h.steps)
	if ok {
		require.Equal(h.t, want, Row{string(key), string(value), at}, "step %d", h.steps)
	}
}

func (h *history) anyRange() store.Range {
	r := store.Range{FromAfter: h.rand.IntN(2) == 0, ToBefore: h.rand.IntN(2) == 0, Backward: h.rand.IntN(2) == 0}
	if h.rand.IntN(4) > 0 {
		r.From = h.key()
	}
	if h.rand.IntN(4) > 0 {
		r.To = h.key()
	}
	if h.rand.IntN(4) == 0 {
		backward := r.Backward
		r = store.PrefixRange(h.key())
		r.Backward = backward
	}
	return r
}

// next returns the row that a scan of r visits after last, nil at the start.
func (h *history) next(r store.Range, last *string) (Row, bool) {
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
	require.Equal(h.t, want, Rows(h.t, h.e, r), "range %+v at step %d", r, h.steps)
}

// scanAndWrite writes and reads in the middle of a scan, and stops anywhere.
func (h *history) scanAndWrite() {
	r, stop := h.anyRange(), h.rand.IntN(60)
	var last *string
	for e, err := range h.e.Scan(r) {
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
	number, err := h.e.Cut(func(ch store.Change) error {
		require.False(h.t, emitted[string(ch.Key)], "%q is emitted twice", ch.Key)
		require.False(h.t, deleting && ch.Value != nil, "a put after a deletion")
		deleting = ch.Value == nil
		emitted[string(ch.Key)] = true
		row, ok := h.rows[string(ch.Key)]
		require.Equal(h.t, ok, ch.Value != nil, "key %q at step %d", ch.Key, h.steps)
		if ok {
			require.Equal(h.t, row, Row{string(ch.Key), string(ch.Value), ch.Time})
		}
		c.changes = append(c.changes, store.Change{Key: bytes.Clone(ch.Key), Value: bytes.Clone(ch.Value), Time: ch.Time})
		return nil
	})
	require.NoError(h.t, err)
	require.Equal(h.t, h.touched, emitted, "step %d", h.steps)
	require.Zero(h.t, h.e.Dirty())
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
		h.log = append(h.log, c.changes...)
	}
	h.e.Settle(h.cuts[n-1].number, Checkpoint(int64(len(h.log))))
	h.cuts, h.before = h.cuts[n:], h.before[n:]
}

func (h *history) undo() {
	require.NoError(h.t, h.e.Undo())
	h.forget()
	h.check()
}

// forget makes the model what is settled.
func (h *history) forget() {
	h.rows = maps.Clone(h.before[0])
	h.before, h.cuts = h.before[:1], nil
	clear(h.touched)
}

// restore brings changes from elsewhere, as a standby gets them.
func (h *history) restore() {
	h.undo()
	var batch []store.Change
	for range h.rand.IntN(50) {
		c := store.Change{Key: h.key(), Time: h.rand.Int64N(1 << 40)}
		if h.rand.IntN(3) > 0 {
			c.Value = h.value()
		}
		batch = append(batch, c)
	}
	h.apply(h.rows, batch)
	h.before[0] = maps.Clone(h.rows)
	h.log = append(h.log, batch...)
	require.NoError(h.t, h.e.Restore(batch, Checkpoint(int64(len(h.log)))))
}

func (h *history) apply(rows map[string]Row, changes []store.Change) {
	for _, c := range changes {
		if c.Value == nil {
			delete(rows, string(c.Key))
		} else {
			rows[string(c.Key)] = Row{string(c.Key), string(c.Value), c.Time}
		}
	}
}

func (h *history) flush() { require.NoError(h.t, h.e.Flush(h.rand.IntN(2) == 0)) }

func (h *history) truncate() {
	require.NoError(h.t, h.e.Truncate())
	h.before[0], h.log = map[string]Row{}, nil
	h.forget()
}

// reopen closes the engine, in one way or the other, and replays the changelog from the checkpoint that it finds.
func (h *history) reopen() {
	flush := h.rand.IntN(2) == 0
	require.NoError(h.t, h.e.Close(flush))
	h.e = h.s.Reopen(h.t)
	h.forget()
	c, ok := h.e.Checkpoint()
	if ok {
		require.Equal(h.t, Checkpoint(c.Offset), c)
	}
	require.LessOrEqual(h.t, c.Offset, int64(len(h.log)), "the checkpoint never passes what is settled")
	if flush {
		require.EqualValues(h.t, len(h.log), c.Offset, "all that is settled is on disk, step %d", h.steps)
	}
	require.NoError(h.t, h.e.Restore(h.log[c.Offset:], Checkpoint(int64(len(h.log)))))
	h.check()
}

func (h *history) check() {
	want := []Row{}
	for _, k := range slices.Sorted(maps.Keys(h.rows)) {
		want = append(want, h.rows[k])
	}
	require.Equal(h.t, want, Rows(h.t, h.e, store.Range{}), "step %d", h.steps)
	n, err := h.e.Len()
	require.NoError(h.t, err)
	require.EqualValues(h.t, len(want), n)
	require.NoError(h.t, h.e.Healthy())
}
