package memtable

import (
	"bytes"
	"math"
	"slices"
	"sort"
)

// An order has a table's entries sorted by key: leaves of up to 255 entries, and above them a list
// of the leaves with the first entry of each. Two levels are enough. With 10 M rows the list has 1
// MB, and an insert in a hundred splits a leaf, which moves half of it.
//
// Beside each ref are 8 bytes of its key, those after the prefix that nearly all keys have in
// common. Because of them a search seldom reads keys, each of which would be a cache miss.
type order struct {
	table        *Table
	arena        arena // not the table's: a frozen table may be put in order while others read it
	leaves       []leafRef
	commonPrefix []byte // not part of the prefixes in leaves
	count        int
	recheckAt    int // the number of leaves at which commonPrefix is checked again
	touched      byte
}

// A leafRef is a leaf and its first entry.
type leafRef struct {
	prefix uint64
	first  ref
	leaf   ref
}

// A leaf is a block of the arena: its length, then the prefixes, then the refs.
type leaf []byte

const (
	leafCapacity = 255 // with the count, just under a size class
	leafRefs     = 8 + leafCapacity*8
	leafSize     = leafRefs + leafCapacity*4
)

func (l leaf) len() int            { return int(le.Uint32(l)) }
func (l leaf) prefix(i int) uint64 { return le.Uint64(l[8+i*8:]) }
func (l leaf) ref(i int) ref       { return le.Uint32(l[leafRefs+i*4:]) }

func (l leaf) put(i int, prefix uint64, r ref) {
	le.PutUint64(l[8+i*8:], prefix)
	le.PutUint32(l[leafRefs+i*4:], r)
}

// move copies from[i:j] to l[to:]. It does not change the length.
func (l leaf) move(to int, from leaf, i, j int) {
	copy(l[8+to*8:leafRefs], from[8+i*8:8+j*8])
	copy(l[leafRefs+to*4:leafSize], from[leafRefs+i*4:leafRefs+j*4])
}

func (l leaf) setLen(n int) { le.PutUint32(l, uint32(n)) }

func (o *order) leaf(i int) leaf { return leaf(o.arena.bytes(o.leaves[i].leaf)) }

// inOrder returns the table's order. It makes one when there is none.
func (t *Table) inOrder() *order {
	if o := t.order.Load(); o != nil {
		return o
	}
	t.endPile(false)
	t.orderMu.Lock()
	defer t.orderMu.Unlock()
	if o := t.order.Load(); o != nil {
		return o
	}
	o := &order{table: t, arena: arena{account: t.arena.account}}
	o.build()
	t.order.Store(o)
	return o
}

type sortEntry struct {
	prefix uint64
	ref    ref
}

// build sorts all entries.
func (o *order) build() {
	all := make([]sortEntry, 0, o.table.index.count)
	o.commonPrefix = o.sample()
	// Each part is read twice, the first time without a use of what is read: the processor fetches
	// several entries at once then.
	touched := byte(0)
	for part := range slices.Chunk(o.table.index.slots, 64) {
		for _, s := range part {
			if s != 0 {
				touched ^= o.table.arena.bytes(ref(s))[entryHead]
			}
		}
		for _, s := range part {
			if s != 0 {
				all = append(all, sortEntry{o.prefix(o.key(ref(s))), ref(s)})
			}
		}
	}
	o.touched = touched // else the reads would be optimised away
	sortByKey(all, o.key)
	o.fill(all)
}

// fill makes the leaves of entries that are in order.
func (o *order) fill(all []sortEntry) {
	const fill = leafCapacity * 3 / 4
	for part := range slices.Chunk(all, fill) {
		l := o.newLeaf(len(o.leaves), part[0])
		for i, e := range part {
			l.put(i, e.prefix, e.ref)
		}
		l.setLen(len(part))
	}
	o.count, o.recheckAt = len(all), max(4, 2*len(o.leaves))
}

// sample guesses from a few keys which prefix most have in common. Keys without it are sorted
// correctly too: see prefix.
func (o *order) sample() []byte {
	var keys [][]byte
	for _, s := range o.table.index.slots {
		if s != 0 {
			keys = append(keys, o.key(ref(s)))
		}
		if len(keys) == 64 {
			break
		}
	}
	return commonPrefixOf(keys)
}

// commonPrefixOf returns what nearly all of a few keys begin with. It sorts them.
func commonPrefixOf(keys [][]byte) []byte {
	if len(keys) == 0 {
		return nil
	}
	slices.SortFunc(keys, bytes.Compare)
	// Stores may have a few rows of another kind (segmented ones have a meta row). They are at either
	// end, and must not count.
	first, last := keys[len(keys)/8], keys[len(keys)-1-len(keys)/8]
	return bytes.Clone(first[:commonLen(first, last)])
}

func commonLen(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func (o *order) key(r ref) []byte { return entry(o.table.arena.bytes(r)).key() }

// prefix is prefixOf with the common prefix of the order.
func (o *order) prefix(key []byte) uint64 { return prefixOf(o.commonPrefix, key) }

// prefixOf maps keys to numbers that never descend when keys ascend: the eight bytes after the common
// prefix. A key without the common prefix gets the least number when it sorts before it, otherwise
// the greatest.
func prefixOf(commonPrefix, key []byte) uint64 {
	if n := len(commonPrefix); n > 0 {
		if !bytes.HasPrefix(key, commonPrefix) {
			if bytes.Compare(key, commonPrefix) < 0 {
				return 0
			}
			return math.MaxUint64
		}
		key = key[n:]
	}
	return digitsOf(key)
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

// seek returns the place of the first entry whose key is at least key, or with after greater than
// key; the place is past the last leaf when there is none. found reports whether an entry has the
// key.
func (o *order) seek(key []byte, after bool) (leafAt, pos int, found bool) {
	p := o.prefix(key)
	// i is the first leaf that starts above key. The entry is in the leaf before, or it is the first
	// one of leaf i.
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

// newLeaf inserts an empty leaf at i.
func (o *order) newLeaf(i int, first sortEntry) leaf {
	r, _ := o.arena.alloc(leafSize)
	o.leaves = slices.Insert(o.leaves, i, leafRef{first.prefix, first.ref, r})
	l := leaf(o.arena.bytes(r))
	l.setLen(0)
	return l
}

// insertMissing adds an entry unless it is in the order.
func (o *order) insertMissing(r ref) {
	if _, _, found := o.seek(o.key(r), false); !found {
		o.insert(r)
	}
}

// insert adds an entry whose key is not in the order.
func (o *order) insert(r ref) {
	key := o.key(r)
	added := sortEntry{o.prefix(key), r}
	o.count++
	if len(o.leaves) == 0 {
		l := o.newLeaf(0, added)
		l.put(0, added.prefix, added.ref)
		l.setLen(1)
		return
	}
	i, pos, _ := o.seek(key, false)
	// Between two leaves there are two places for an entry. At the end of the leaf before, keys that
	// ascend fill it (split).
	if pos == 0 && i > 0 {
		i--
		pos = o.leaf(i).len()
	}
	l := o.leaf(i)
	if l.len() == leafCapacity {
		i, pos = o.split(i, pos)
		l = o.leaf(i)
	}
	n := l.len()
	l.move(pos+1, l, pos, n)
	l.put(pos, added.prefix, added.ref)
	l.setLen(n + 1)
	if pos == 0 {
		o.leaves[i].prefix, o.leaves[i].first = added.prefix, added.ref
	}
	if len(o.leaves) >= o.recheckAt {
		o.updateCommonPrefix()
	}
}

// split divides a full leaf, and returns where its place pos is now. The last leaf, when it grows
// at its end, keeps nearly all entries. So leaves are full, not half full, when keys only ascend,
// as those of windows may.
func (o *order) split(i, pos int) (int, int) {
	at := leafCapacity / 2
	if pos == leafCapacity && i == len(o.leaves)-1 {
		at = leafCapacity - 1
	}
	old := o.leaf(i)
	l := o.newLeaf(i+1, sortEntry{old.prefix(at), old.ref(at)})
	old = o.leaf(i)
	l.move(0, old, at, leafCapacity)
	l.setLen(leafCapacity - at)
	old.setLen(at)
	if pos > at {
		return i + 1, pos - at
	}
	return i, pos
}

// remove removes the entry of key.
func (o *order) remove(key []byte) {
	i, pos, found := o.seek(key, false)
	if !found {
		return
	}
	l := o.leaf(i)
	n := l.len() - 1
	l.move(pos, l, pos+1, n+1)
	l.setLen(n)
	o.count--
	switch {
	case n == 0:
		o.dropLeaf(i)
	case pos == 0:
		o.leaves[i].prefix, o.leaves[i].first = l.prefix(0), l.ref(0)
	}
	if n > 0 && n < leafCapacity/4 && i+1 < len(o.leaves) {
		o.merge(i)
	}
}

// merge moves the entries of the next leaf to leaf i when both together fill at most three quarters
// of a leaf.
func (o *order) merge(i int) {
	l, next := o.leaf(i), o.leaf(i+1)
	n, m := l.len(), next.len()
	if n+m > leafCapacity*3/4 {
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

// updateCommonPrefix checks, each time the order has doubled, whether most keys have another prefix
// in common now: the one that a key near the start and a key near the end share, since all keys
// between them share it.
func (o *order) updateCommonPrefix() {
	o.recheckAt = 2 * len(o.leaves)
	first, last := o.key(o.leaves[len(o.leaves)/8].first), o.key(o.leaves[len(o.leaves)-1-len(o.leaves)/8].first)
	prefix := first[:commonLen(first, last)]
	if bytes.Equal(prefix, o.commonPrefix) {
		return
	}
	o.commonPrefix = bytes.Clone(prefix)
	for i := range o.leaves {
		l := o.leaf(i)
		for j := range l.len() {
			l.put(j, o.prefix(o.key(l.ref(j))), l.ref(j))
		}
		o.leaves[i].prefix = l.prefix(0)
	}
}
