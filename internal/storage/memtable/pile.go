package memtable

import (
	"bytes"
	"slices"
)

// A pile has the rows that a restore has loaded into an empty table, in the order in which they came, those
// of one key too. They are not in the index: most tables that a restore fills are flushed without a look-up,
// and sorting them finds the rows of one key, the newest of which counts. Whoever needs the index makes it
// (Table.endPile): a read, a write of an epoch, a snapshot, a scan.
//
// Rows are in parts by ranges of keys, each in pieces of memory of its own. Sorting a part, and reading its
// rows in order, then happens within the processor's caches, where the rows of a whole table, read in the
// order of their keys, would each be waited for.
//
// Invariants:
//
//  1. The arena has freed no block and no chunk since the first row: later pieces have greater refs, and of
//     two rows of a key the one with the greater ref is the newer.
//  2. A pile whose table is sealed does not change: the flusher reads it while the owner may index it.
type pile struct {
	parts   []part
	split   splitter
	count   int
	repeats repeats
}

// A part has the rows of a range of keys. The last piece is being filled.
type part struct {
	pieces []piece
	bump   bump
}

// A piece is entries one behind the other, from a block on. Values that are not inline are elsewhere.
type piece struct {
	at   ref
	size int
}

const (
	splitAt      = 2048 // rows after which a pile is split: they say where
	pileParts    = 128
	splitBuckets = 1024
	firstPiece   = 4 << 10
	doublings    = 3       // of pieces
	largestPiled = 4 << 10 // larger entries have pieces of their own

	sampleBits  = 6    // of 2^6 keys, about one is looked for among those that came before
	fewSamples  = 64   // before they say something
	manySamples = 1024 // after which older ones count half
)

// load adds a row to the pile of a table. It reports false when the table has none, or has one no more.
func (t *Table) load(key, value []byte, time int64, s State) bool {
	p := t.pile.Load()
	if p == nil {
		// Entries and blocks that were freed would be used again, against invariant 1. A table in order has the
		// order up to date, even if it has no rows.
		if t.onlyLevel || len(t.arena.chunks) > 0 || t.order.Load() != nil {
			return false
		}
		p = &pile{parts: make([]part, 1)}
		t.pile.Store(p)
	}
	if p.repeats.see(key) {
		t.endPile(true)
		return false
	}
	if prefix := t.series.of.Prefix(key); prefix != nil {
		t.series.numbers.Add(key, len(prefix))
	}
	t.pileUp(&p.parts[p.split.of(key)], key, value, time, s)
	if p.count++; p.count == splitAt {
		t.splitPile(p)
	}
	return true
}

// pileUp adds an entry to a part.
func (t *Table) pileUp(to *part, key, value []byte, time int64, s State) {
	// Blocks have sizes of the arena's, so that they can be freed once there is no pile any more.
	_, size := classOf(t.entryBytes(key, len(value)))
	r := t.place(to, size)
	t.initEntry(r, size, key)
	t.set(r, value, time, s)
}

// place returns size bytes at the end of a part.
func (t *Table) place(to *part, size int) ref {
	if to.bump.end-to.bump.next < size {
		t.addPiece(to, size)
	}
	r := to.bump.chunk<<offsetBit | uint32(to.bump.next/unit)
	to.bump.next += size
	to.pieces[len(to.pieces)-1].size += size
	return r
}

// addPiece begins a new piece of a part, each twice as long as the one before.
func (t *Table) addPiece(to *part, size int) {
	n := size
	if size <= largestPiled {
		n = firstPiece << min(len(to.pieces), doublings)
	}
	r := t.arena.carve(&t.arena.bump, n)
	at := int(r&offsetMax) * unit
	to.bump = bump{chunk: r >> offsetBit, next: at, end: at + n}
	to.pieces = append(to.pieces, piece{at: r})
}

// each calls f for each entry of a part, in the order in which they came.
func (t *Table) each(of *part, f func(r ref, e entry)) {
	for _, x := range of.pieces {
		for r, end := x.at, x.at+uint32(x.size/unit); r < end; {
			e := entry(t.arena.bytes(r))
			f(r, e)
			r += uint32(e.size() / unit)
		}
	}
}

// splitPile moves the entries of a pile to the parts that they say. The memory that they leave is used for
// large values at most.
func (t *Table) splitPile(p *pile) {
	old := p.parts[0]
	p.parts = make([]part, pileParts)
	var keys [][]byte
	t.each(&old, func(_ ref, e entry) { keys = append(keys, e.key()) })
	p.split = newSplitter(keys)
	t.each(&old, func(r ref, e entry) {
		size := e.size()
		to := t.place(&p.parts[p.split.of(e.key())], size)
		moved := entry(t.arena.bytes(to))
		copy(moved[:size], e[:size])
		if e.isInline(r) {
			le.PutUint32(moved, to+uint32(moved.inlineAt()/unit))
		}
	})
}

// A splitter says which part of a pile a key belongs to: the greater the key, the later the part.
type splitter struct {
	commonPrefix []byte
	from         uint64 // digits of the least key that was known
	shift        int
	parts        []uint8 // by bucket of digits; none: the pile is not split
}

// newSplitter returns a splitter into parts that each have about as many of the keys.
func newSplitter(keys [][]byte) splitter {
	some := make([][]byte, 0, 64)
	for i := 0; i < len(keys); i += max(1, len(keys)/64) {
		some = append(some, keys[i])
	}
	s := splitter{commonPrefix: commonPrefixOf(some), parts: make([]uint8, splitBuckets)}
	digits := make([]uint64, len(keys))
	for i, key := range keys {
		digits[i] = prefixOf(s.commonPrefix, key)
	}
	slices.Sort(digits)
	// A few keys at either end may be of another kind, as in commonPrefixOf.
	s.from = digits[len(digits)/64]
	for to := digits[len(digits)-1-len(digits)/64]; (to-s.from)>>s.shift >= splitBuckets; {
		s.shift++
	}
	i := 0
	for b := range s.parts {
		s.parts[b] = uint8(i * pileParts / (len(digits) + 1))
		for i < len(digits) && s.bucket(digits[i]) <= b {
			i++
		}
	}
	return s
}

func (s *splitter) bucket(digits uint64) int {
	if digits <= s.from {
		return 0
	}
	return int(min((digits-s.from)>>s.shift, splitBuckets-1))
}

func (s *splitter) of(key []byte) int {
	if s.parts == nil {
		return 0
	}
	return int(s.parts[s.bucket(prefixOf(s.commonPrefix, key))])
}

// repeats guesses how many of the rows that are loaded are of keys that came before: it looks at a sample of
// the keys. A pile has each row of a key until it is flushed, an index only the newest one.
type repeats struct {
	seen     []uint32 // hashes of the keys in the sample, each in its place
	samples  int
	repeated int
}

// see looks at the key of the next row. It reports whether a quarter of the rows, or more, are of keys that
// came before.
func (x *repeats) see(key []byte) bool {
	// Of any key the same, and quickly known of the others. The first bytes alone may be the same in all.
	n := len(key)
	mixed := uint64(n)
	if n >= 8 {
		mixed ^= digitsOf(key) ^ le.Uint64(key[n-8:])*3
	} else {
		mixed ^= digitsOf(key)
	}
	if mixed*0x9e3779b97f4a7c15>>(64-sampleBits) != 0 {
		return false
	}
	if x.seen == nil {
		x.seen = make([]uint32, 4096)
	}
	hash := Hash(key) | 1<<31 // 0: none
	if at := &x.seen[hash%uint32(len(x.seen))]; *at == hash {
		x.repeated++
	} else {
		*at = hash
	}
	if x.samples++; x.samples == manySamples {
		x.samples, x.repeated = x.samples/2, x.repeated/2
	}
	return x.samples >= fewSamples && x.repeated*4 >= x.samples
}

// endPile makes the index of a table whose rows are in a pile, if they are: they are as any others from then on.
// The flusher may read the pile meanwhile, and goes on with it. With free, for a table that nobody else reads,
// rows that newer ones replace are freed.
func (t *Table) endPile(free bool) {
	if t.pile.Load() != nil {
		t.indexPile(free)
	}
}

func (t *Table) indexPile(free bool) {
	t.pileMu.Lock()
	defer t.pileMu.Unlock()
	p := t.pile.Load()
	if p == nil {
		return
	}
	t.index.grow(&t.arena, p.count)
	for i := range p.parts {
		t.each(&p.parts[i], func(r ref, e entry) { t.indexPiled(r, e, free) })
	}
	// Not earlier: whoever finds no pile finds the index.
	t.pile.Store(nil)
}

// indexPiled adds an entry of a pile to the index, in place of an older one of its key.
func (t *Table) indexPiled(r ref, e entry, free bool) {
	hash := Hash(e.key())
	older := t.index.replace(hash, r, func(r ref) bool { return bytes.Equal(t.at(r).key(), e.key()) })
	switch {
	case older != 0:
		if t.at(older).state() == Live {
			t.live--
		}
		t.relink(older, r)
	case t.series.of.Tail > 0:
		t.link(r)
	}
	if e.state() == Live {
		t.live++
	}
	if older != 0 && free {
		t.freeEntry(older)
	}
}
