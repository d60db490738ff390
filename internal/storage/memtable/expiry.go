package memtable

import (
	"bytes"
	"slices"
)

// An Expiry is a range of rows that are to be removed once an epoch has settled.
type Expiry struct {
	From, To []byte // from <= key < to
	epoch    uint64
}

// ExpiryList are the ranges that an engine has to remove, oldest first.
type ExpiryList []Expiry

// Add adds a range that expires in an epoch.
func (el *ExpiryList) Add(epoch uint64, from, to []byte) {
	*el = append(*el, Expiry{From: from, To: to, epoch: epoch})
}

// Accept makes all ranges belong to settled epochs.
func (el *ExpiryList) Accept() {
	for i := range *el {
		(*el)[i].epoch = 0
	}
}

// Undo removes the ranges of epochs after settled, the one that settled last.
func (el *ExpiryList) Undo(settled uint64) {
	*el = slices.DeleteFunc(*el, func(e Expiry) bool { return e.epoch > settled })
}

// Until returns the ranges of epochs up to this one. Of ranges with the same beginning it returns
// the longest.
func (el *ExpiryList) Until(epoch uint64) []Expiry {
	var out []Expiry
	for _, e := range *el {
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

// Settle replaces the ranges of epochs up to this one by left, those that could not be removed yet.
func (el *ExpiryList) Settle(epoch uint64, remaining []Expiry) {
	later := slices.DeleteFunc(*el, func(e Expiry) bool { return e.epoch <= epoch })
	*el = append(remaining, later...)
}

// Contains reports whether key is in one of the ranges.
func Contains(ranges []Expiry, key []byte) bool {
	for i := range ranges {
		if bytes.Compare(key, ranges[i].From) >= 0 && bytes.Compare(key, ranges[i].To) < 0 {
			return true
		}
	}
	return false
}

// dropAtOnce is how many entries Drop collects before it removes them. Removing them moves the
// entries under its cursor.
const dropAtOnce = 256

// Drop removes up to limit entries of a range. It returns how many it removed, and reports whether
// it has come to the range's end. Entries that an unsettled epoch has written stay: they have to be
// there if it is undone.
func (t *Table) Drop(expiry Expiry, limit int) (dropped int, done bool) {
	var refs [dropAtOnce]ref
	from := expiry.From
	for {
		batch, last := refs[:0], []byte(nil)
		c := t.Cursor()
		for c.Seek(from, false); c.Valid() && bytes.Compare(c.Key(), expiry.To) < 0; c.Next() {
			// This entry is where the next batch begins, or the next call. So a batch that ends exactly at
			// the end of the range is known to be the last.
			if len(batch) == min(dropAtOnce, limit-dropped) {
				last = bytes.Clone(c.Key())
				break
			}
			// An entry of an unsettled epoch has an undo record that refers to it, and so may one that a
			// snapshot needs.
			if !t.logged(entry(t.arena.bytes(c.entry)).epoch()) {
				batch = append(batch, c.entry)
			}
		}
		t.lock()
		for _, r := range batch {
			t.updateLive(r, Absent)
			t.remove(r)
		}
		t.unlock()
		dropped += len(batch)
		if last == nil || dropped == limit {
			return dropped, last == nil
		}
		from = last
	}
}

// Ordered reports whether the table has its entries in order. Drop needs the order and makes it,
// which takes long for many entries; Sweep does without.
func (t *Table) Ordered() bool { return t.order.Load() != nil }

// Sweep visits up to limit slots of the index, from the slot at on, and removes the entries that
// are in a range. It returns the slot to continue at, and reports whether that is the end of the
// index. Entries that an unsettled epoch has written stay.
func (t *Table) Sweep(ranges []Expiry, at, limit int) (next int, done bool) {
	t.endPile(false)
	t.lock()
	defer t.unlock()
	for ix := &t.index; at < len(ix.slots) && limit > 0; limit-- {
		if limit%pauseEvery == 0 {
			t.pause()
		}
		s := ix.slots[at]
		if s == 0 {
			at++
			continue
		}
		r := ref(s)
		if e := entry(t.arena.bytes(r)); t.logged(e.epoch()) || !Contains(ranges, e.key()) {
			at++
			continue
		}
		t.updateLive(r, Absent)
		t.remove(r) // at does not move: an entry from behind may have moved to this slot
	}
	return at, at >= len(t.index.slots)
}

// IndexSlots returns the size of the index.
func (t *Table) IndexSlots() int { return len(t.index.slots) }
