package btree

// GroupSize is how many look-ups a Group has at most.
const GroupSize = 16

// A Group looks up several keys at once, in one tree or in several. A look-up in a file of many rows waits
// for memory at each key that it compares, since which one is next depends on the last. Those of a group go
// step by step together instead: the processor fetches what the next step of each of them reads at once. A
// group that is used again allocates nothing.
type Group struct {
	searches [GroupSize]search
	n        int
	at       int  // the search that is under way
	touched  byte // what was read: the reads must not be optimised away
}

// A RowAt is where a row is in a tree.
type RowAt struct {
	page    uint64
	element int
}

// A search is the look-up of one key in one leaf.
type search struct {
	tree             *Tree
	key              []byte
	id               uint64 // of the leaf
	page             []byte
	lo, hi, m        int    // the row is in [lo, hi); m is looked at next
	digits, from, to uint64 // of the key, and of those on both sides of [lo, hi)
	prefix           int    // bytes of keys before those that digits are of
	looks            int
	state            searchState
}

type searchState uint8

const (
	searching searchState = iota
	found
	notFound
)

// Reset makes the group empty.
func (g *Group) Reset() {
	clear(g.searches[:g.n]) // of files that may be unmapped soon
	g.n = 0
}

// Add adds the look-up of a key. It reports whether it did: it does not where the numbers of x do not say
// in which leaf the key is. The group must have room.
func (g *Group) Add(x *Leaves, key []byte) bool {
	leaf, digits, ok := x.of(key)
	if ok {
		g.searches[g.n] = search{
			tree: &x.tree, key: key, id: uint64(x.ids[leaf]), digits: digits, from: x.first[leaf], to: x.first[leaf+1],
			prefix: len(x.prefix),
		}
		g.n++
	}
	return ok
}

// At returns the number of the look-up in which Find panicked.
func (g *Group) At() int { return g.at }

// Row returns where a look-up has found a row. ok is false when it has found none: Find of the tree may find
// it all the same, or that a page is wrong.
func (g *Group) Row(i int) (at RowAt, ok bool) {
	s := &g.searches[i]
	return RowAt{s.id, s.m}, s.state == found
}

// Find looks all keys up. It panics over pages that cannot be right.
func (g *Group) Find() {
	for i := range g.searches[:g.n] {
		g.at = i // a page that its disk does not return is a fault here already
		g.touched ^= g.searches[i].touchLeaf()
	}
	for i := range g.searches[:g.n] {
		g.at = i
		g.searches[i].begin()
	}
	for more := true; more; {
		for i := range g.searches[:g.n] {
			if s := &g.searches[i]; s.state == searching {
				g.at = i
				g.touched ^= s.touchRow()
			}
		}
		more = false
		for i := range g.searches[:g.n] {
			if s := &g.searches[i]; s.state == searching {
				g.at, more = i, true
				s.look()
			}
		}
	}
	for i := range g.searches[:g.n] {
		if s := &g.searches[i]; s.state == found {
			g.at = i
			g.touched ^= s.touchValue()
		}
	}
}

// touchLeaf reads what begin and the first look read.
func (s *search) touchLeaf() byte {
	if s.tree.InLeaf == 0 {
		return 0
	}
	return s.tree.touchAt(s.id, between(s.digits, s.from, s.to, s.tree.InLeaf))
}

func (s *search) begin() {
	page, n, leaf := s.tree.Page(s.id)
	if !leaf {
		s.state = notFound
		return
	}
	s.page, s.hi = page, n
	s.next()
}

// bisectFrom is after how many looks a search bisects. Before, it looks where the key would be if keys were
// spread evenly between those on both sides: hashes and numbers are found after three or four looks.
const bisectFrom = 4

// next chooses the row to look at next. When there is none, the search has ended.
func (s *search) next() {
	if s.lo >= s.hi {
		s.state = notFound
		return
	}
	s.m = (s.lo + s.hi) / 2
	if s.looks < bisectFrom && s.from <= s.digits && s.digits < s.to {
		s.m = s.lo + between(s.digits, s.from, s.to, s.hi-s.lo)
	}
	s.looks++
}

// touchRow reads a byte of the key that look compares.
func (s *search) touchRow() (x byte) {
	e := s.page[PageHead+s.m*ElementSize:]
	if at := uint64(Native.Uint32(e[leafKeys:])) + uint64(s.tree.Prefix); at < uint64(len(e)) {
		x = e[at]
	}
	return x
}

// look compares the key with that of a row.
func (s *search) look() {
	key := leafKey(s.page, s.m, s.tree.Prefix)
	c := compare(key, s.key)
	if c == 0 {
		s.state = found
		return
	}
	digits := Digits(key[min(s.prefix, len(key)):])
	if c < 0 {
		s.lo, s.from = s.m+1, digits
	} else {
		s.hi, s.to = s.m, digits
	}
	s.next()
}

// touchValue reads a byte of each cache line of the value, but not of all of a large one: the processor
// fetches what follows by itself.
func (s *search) touchValue() (x byte) {
	value := LeafValue(s.page, s.m)
	value = value[:min(len(value), 512)]
	for at := 0; at < len(value); at += 64 {
		x ^= value[at]
	}
	if len(value) > 0 {
		x ^= value[len(value)-1]
	}
	return x
}

// At returns the value of key at a place that Group.Row returned; nil when it is not there. It panics as
// Tree.Find does.
func (x *Leaves) At(at RowAt, key []byte) []byte {
	t := &x.tree
	page, n, leaf := t.Page(at.page)
	if !leaf || at.element >= n || compare(leafKey(page, at.element, t.Prefix), key) != 0 {
		return nil
	}
	return LeafValue(page, at.element)
}
