package memory

import (
	"bytes"
	"slices"
)

// An Expiry is a range of rows that go once an epoch has settled.
type Expiry struct {
	From, To []byte // from <= key < to
	epoch    uint64
}

// Expiries are the ranges of rows that an engine was told of, the oldest first.
type Expiries []Expiry

// Add notes that a range expires in an epoch.
func (x *Expiries) Add(epoch uint64, from, to []byte) {
	*x = append(*x, Expiry{From: from, To: to, epoch: epoch})
}

// Accept has all ranges be as if their epochs had settled.
func (x *Expiries) Accept() {
	for i := range *x {
		(*x)[i].epoch = 0
	}
}

// Undo forgets the ranges of epochs after the one that settled last.
func (x *Expiries) Undo(settled uint64) {
	*x = slices.DeleteFunc(*x, func(e Expiry) bool { return e.epoch > settled })
}

// Until returns the ranges that have expired once epoch has settled, one for each beginning. Those that they take the place of are forgotten.
func (x *Expiries) Until(epoch uint64) []Expiry {
	var out []Expiry
	for _, e := range *x {
		if e.epoch > epoch {
			break
		}
		i := slices.IndexFunc(out, func(o Expiry) bool { return bytes.Equal(o.From, e.From) })
		switch {
		case i < 0:
			out = append(out, e)
		case bytes.Compare(e.To, out[i].To) > 0:
			out[i] = e
		}
	}
	return out
}

// Settle replaces the ranges of settled epochs by what is left of them.
func (x *Expiries) Settle(epoch uint64, left []Expiry) {
	later := slices.DeleteFunc(*x, func(e Expiry) bool { return e.epoch <= epoch })
	*x = append(left, later...)
}

// Contains is whether key is in one of the ranges.
func Contains(ranges []Expiry, key []byte) bool {
	for i := range ranges {
		if bytes.Compare(key, ranges[i].From) >= 0 && bytes.Compare(key, ranges[i].To) < 0 {
			return true
		}
	}
	return false
}

// dropAtOnce is how many entries Drop takes out between two looks at the order.
const dropAtOnce = 256

// Drop removes up to limit entries of a range, and returns how many, and whether none is left but those that an unsettled epoch has written.
func (t *Table) Drop(x Expiry, limit int) (n int, done bool) {
	var found [dropAtOnce]ref
	from := x.From
	for {
		batch, last := found[:0], []byte(nil)
		c := t.Cursor()
		for c.Seek(from, false); c.Valid() && bytes.Compare(c.Key(), x.To) < 0; c.Next() {
			if len(batch) == min(dropAtOnce, limit-n) {
				last = bytes.Clone(c.Key())
				break
			}
			if !t.pending(entry(t.arena.bytes(c.at)).epoch()) {
				batch = append(batch, c.at)
			}
		}
		for _, r := range batch {
			t.count(r, Absent)
			t.remove(r)
		}
		n += len(batch)
		if last == nil || n == limit {
			return n, last == nil
		}
		from = last
	}
}

// Ordered is whether the table keeps its entries in order. Drop puts them in order, which takes long for many; Sweep does without.
func (t *Table) Ordered() bool { return t.order.Load() != nil }

// Sweep looks at up to limit places of the index, from the one at on, and removes what is in a range. It returns where to go on, and done
// at the end of the index. Entries that an unsettled epoch has written stay.
func (t *Table) Sweep(ranges []Expiry, at, limit int) (next int, done bool) {
	for x := &t.index; at < len(x.slots) && limit > 0; limit-- {
		s := x.slots[at]
		if s == 0 {
			at++
			continue
		}
		r := ref(s)
		if e := entry(t.arena.bytes(r)); t.pending(e.epoch()) || !Contains(ranges, e.key()) {
			at++
			continue
		}
		t.count(r, Absent)
		t.remove(r) // what comes behind may move up to this place
	}
	return at, at >= len(t.index.slots)
}

// Places returns how many places the index has.
func (t *Table) Places() int { return len(t.index.slots) }
