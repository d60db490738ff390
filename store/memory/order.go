package memory

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"sort"
)

// An order keeps a table's entries sorted by key: a list of leaves of up to 255 entries, and above it the first entry of each
// leaf. Two levels are enough: at 10 M rows the upper one is 1 MB, and moving half of it aside happens once in a hundred inserts.
//
// Beside each ref stand 8 bytes of its key, after as many as (nearly) all keys have in common, so that a search seldom looks at
// the keys themselves, each of which would be a miss of the cache.
type order struct {
	t      *Table
	arena  arena // of its own: a frozen table may be put in order while others read it
	leaves []leafRef
	lead   []byte // what prefixes leave out
	n      int
	recut  int // number of leaves at which lead is looked at again
}

// A leafRef is a leaf and its first entry.
type leafRef struct {
	prefix uint64
	first  ref
	leaf   ref
}

// A leaf is a block of the arena: its count, then prefixes, then refs.
type leaf []byte

const (
	leafMost = 255 // with the count, just under a size class
	leafRefs = 8 + leafMost*8
	leafSize = leafRefs + leafMost*4
)

func (l leaf) len() int            { return int(le.Uint32(l)) }
func (l leaf) prefix(i int) uint64 { return le.Uint64(l[8+i*8:]) }
func (l leaf) ref(i int) ref       { return le.Uint32(l[leafRefs+i*4:]) }

func (l leaf) put(i int, prefix uint64, r ref) {
	le.PutUint64(l[8+i*8:], prefix)
	le.PutUint32(l[leafRefs+i*4:], r)
}

// move makes l[to:] what from[i:j] was; the count is the caller's.
func (l leaf) move(to int, from leaf, i, j int) {
	copy(l[8+to*8:leafRefs], from[8+i*8:8+j*8])
	copy(l[leafRefs+to*4:leafSize], from[leafRefs+i*4:leafRefs+j*4])
}

func (l leaf) setLen(n int) { le.PutUint32(l, uint32(n)) }

func (o *order) leaf(i int) leaf { return leaf(o.arena.bytes(o.leaves[i].leaf)) }

// inOrder returns the table's order and makes it when there is none.
func (t *Table) inOrder() *order {
	if o := t.order.Load(); o != nil {
		return o
	}
	t.ordered.Lock()
	defer t.ordered.Unlock()
	if o := t.order.Load(); o != nil {
		return o
	}
	o := &order{t: t, arena: arena{account: t.arena.account}}
	o.build()
	t.order.Store(o)
	return o
}

type sorted struct {
	prefix uint64
	ref    ref
}

// build sorts all entries.
func (o *order) build() {
	all := make([]sorted, 0, o.t.index.n)
	o.lead = o.sample()
	for _, s := range o.t.index.slots {
		if s != 0 {
			all = append(all, sorted{o.prefix(o.key(ref(s))), ref(s)})
		}
	}
	o.sort(all)
	const fill = leafMost * 3 / 4
	for part := range slices.Chunk(all, fill) {
		l := o.newLeaf(len(o.leaves), part[0])
		for i, e := range part {
			l.put(i, e.prefix, e.ref)
		}
		l.setLen(len(part))
	}
	o.n, o.recut = len(all), max(4, 2*len(o.leaves))
}

// sample guesses what most keys have in common from a few. Keys that do not have it are still in order: see prefix.
func (o *order) sample() []byte {
	var keys [][]byte
	for _, s := range o.t.index.slots {
		if s != 0 {
			keys = append(keys, o.key(ref(s)))
		}
		if len(keys) == 64 {
			break
		}
	}
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, bytes.Compare)
	// Stores may have a few rows of another kind, which must not count: those at both ends.
	first, last := keys[len(keys)/8], keys[len(keys)-1-len(keys)/8]
	return bytes.Clone(first[:common(first, last)])
}

func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func (o *order) key(r ref) []byte { return entry(o.t.arena.bytes(r)).key() }

// prefix maps keys to numbers, never a greater key to a smaller number: eight bytes after lead; for keys without lead the
// least or the greatest number, according to which side of it they are on.
func (o *order) prefix(key []byte) uint64 {
	if n := len(o.lead); n > 0 {
		if !bytes.HasPrefix(key, o.lead) {
			if bytes.Compare(key, o.lead) < 0 {
				return 0
			}
			return math.MaxUint64
		}
		key = key[n:]
	}
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// compare compares an entry in the order with a key.
func (o *order) compare(prefix uint64, r ref, p uint64, key []byte) int {
	switch {
	case prefix < p:
		return -1
	case prefix > p:
		return 1
	}
	return bytes.Compare(o.key(r), key)
}

// seek returns the place of the first entry that is not below key, or with after the first above it; past the last leaf when
// there is none. found is whether that entry has the key.
func (o *order) seek(key []byte, after bool) (leafAt, pos int, found bool) {
	p := o.prefix(key)
	// The first leaf that starts above key; what is sought is in the one before, or the very first of this one.
	i := sort.Search(len(o.leaves), func(i int) bool {
		l := &o.leaves[i]
		return o.compare(l.prefix, l.first, p, key) > 0
	})
	if i == 0 {
		return 0, 0, false
	}
	l := o.leaf(i - 1)
	pos = sort.Search(l.len(), func(j int) bool {
		c := o.compare(l.prefix(j), l.ref(j), p, key)
		found = found || c == 0
		return c > 0 || c == 0 && !after
	})
	if pos == l.len() {
		return i, 0, found
	}
	return i - 1, pos, found
}

// newLeaf puts an empty leaf at i of the list.
func (o *order) newLeaf(i int, first sorted) leaf {
	r, _ := o.arena.alloc(leafSize)
	o.leaves = slices.Insert(o.leaves, i, leafRef{first.prefix, first.ref, r})
	l := leaf(o.arena.bytes(r))
	l.setLen(0)
	return l
}

// insert adds an entry whose key is not in the order.
func (o *order) insert(r ref) {
	key := o.key(r)
	e := sorted{o.prefix(key), r}
	o.n++
	if len(o.leaves) == 0 {
		l := o.newLeaf(0, e)
		l.put(0, e.prefix, e.ref)
		l.setLen(1)
		return
	}
	i, pos, _ := o.seek(key, false)
	if pos == 0 && i > 0 { // the end of the leaf before rather than the start of this one
		i--
		pos = o.leaf(i).len()
	}
	l := o.leaf(i)
	if l.len() == leafMost {
		i, pos = o.split(i, pos)
		l = o.leaf(i)
	}
	n := l.len()
	l.move(pos+1, l, pos, n)
	l.put(pos, e.prefix, e.ref)
	l.setLen(n + 1)
	if pos == 0 {
		o.leaves[i].prefix, o.leaves[i].first = e.prefix, e.ref
	}
	if len(o.leaves) >= o.recut {
		o.relead()
	}
}

// split divides a full leaf, and returns where its place pos is now. A leaf that grows at its end keeps all it has: keys that
// only ever ascend, as those of windows may, fill their leaves.
func (o *order) split(i, pos int) (int, int) {
	at := leafMost / 2
	if pos == leafMost && i == len(o.leaves)-1 {
		at = leafMost - 1
	}
	old := o.leaf(i)
	l := o.newLeaf(i+1, sorted{old.prefix(at), old.ref(at)})
	old = o.leaf(i)
	l.move(0, old, at, leafMost)
	l.setLen(leafMost - at)
	old.setLen(at)
	if pos > at {
		return i + 1, pos - at
	}
	return i, pos
}

// remove takes out the entry of key.
func (o *order) remove(key []byte) {
	i, pos, found := o.seek(key, false)
	if !found {
		return
	}
	l := o.leaf(i)
	n := l.len() - 1
	l.move(pos, l, pos+1, n+1)
	l.setLen(n)
	o.n--
	switch {
	case n == 0:
		o.dropLeaf(i)
	case pos == 0:
		o.leaves[i].prefix, o.leaves[i].first = l.prefix(0), l.ref(0)
	}
	if n > 0 && n < leafMost/4 && i+1 < len(o.leaves) {
		o.merge(i)
	}
}

// merge takes the next leaf into leaf i when both together are not much.
func (o *order) merge(i int) {
	l, next := o.leaf(i), o.leaf(i+1)
	n, m := l.len(), next.len()
	if n+m > leafMost*3/4 {
		return
	}
	l.move(n, next, 0, m)
	l.setLen(n + m)
	o.dropLeaf(i + 1)
}

func (o *order) dropLeaf(i int) {
	_, size := classOf(leafSize)
	o.arena.release(o.leaves[i].leaf, size)
	o.leaves = slices.Delete(o.leaves, i, i+1)
}

// relead looks, each time the order has doubled, whether most of its keys have something else in common than what prefixes leave out:
// what a key near the start and one near the end share, all between them share.
func (o *order) relead() {
	o.recut = 2 * len(o.leaves)
	first, last := o.key(o.leaves[len(o.leaves)/8].first), o.key(o.leaves[len(o.leaves)-1-len(o.leaves)/8].first)
	lead := first[:common(first, last)]
	if bytes.Equal(lead, o.lead) {
		return
	}
	o.lead = bytes.Clone(lead)
	for i := range o.leaves {
		l := o.leaf(i)
		for j := range l.len() {
			l.put(j, o.prefix(o.key(l.ref(j))), l.ref(j))
		}
		o.leaves[i].prefix = l.prefix(0)
	}
}
