package memtable

import (
	"bytes"

	"github.com/millstream-go/millstream/internal/storage"
)

// seriesIndex finds the rows of a series without an order of all rows: a hash index has the last entry
// of each series, and entries are linked in the order of their keys. A row that comes in order costs
// the look-up of the last one, where an order costs a search among all rows. So a table of windows
// needs no order until it is flushed.
//
// Rows far out of order would be searched for from the last one on, each time. A table that meets
// such a row gives the index up, and has an order from then on.
type seriesIndex struct {
	index
	of      storage.Series
	on      bool
	numbers storage.Numbers // of all entries that were ever in the table
}

const (
	// linksSize is at the end of an entry's block: the entries before and behind it in its series.
	linksSize = 8
	// longestInsert is how many entries an insert passes before the table gives the index up, and
	// longestSeek how many a scan passes before it needs the order. Once there is an order, a search in
	// it takes as long as orderedSeek entries: scans of long series do not pass longestSeek each time.
	longestInsert = 64
	longestSeek   = 256
	orderedSeek   = 16
)

// IndexSeries makes the table find rows by series from now on. It does nothing if there are rows already.
func (t *Table) IndexSeries(of storage.Series) {
	if of.Tail > 0 && t.Entries() == 0 && !t.series.on {
		t.series = seriesIndex{of: of, on: true, numbers: storage.NoNumbers}
	}
}

// MayHave reports whether the table may have a row that a scan visits.
func (t *Table) MayHave(r storage.Range) bool {
	return t.series.of.Tail == 0 || t.series.numbers.MayHave(r)
}

func (e entry) before() ref     { return le.Uint32(e[e.size()-linksSize:]) }
func (e entry) behind() ref     { return le.Uint32(e[e.size()-linksSize/2:]) }
func (e entry) setBefore(r ref) { le.PutUint32(e[e.size()-linksSize:], r) }
func (e entry) setBehind(r ref) { le.PutUint32(e[e.size()-linksSize/2:], r) }

func (t *Table) at(r ref) entry { return entry(t.arena.bytes(r)) }

// findSeries returns the last entry of a series and its slot in the index; 0 when there is none.
func (t *Table) findSeries(hash uint32, prefix []byte) (slot uint32, last ref) {
	ix := &t.series.index
	if ix.count == 0 {
		return 0, 0
	}
	for i := hash & ix.mask; ; i = (i + 1) & ix.mask {
		s := ix.slots[i]
		if s == 0 {
			return 0, 0
		}
		if uint32(s>>32) == hash && bytes.Equal(t.series.of.Prefix(t.at(ref(s)).key()), prefix) {
			return i, ref(s)
		}
	}
}

// link adds a new entry to its series.
func (t *Table) link(r ref) {
	e := t.at(r)
	key := e.key()
	prefix := t.series.of.Prefix(key)
	if prefix == nil {
		return
	}
	t.series.numbers.Add(key, len(prefix))
	if !t.series.on {
		return
	}
	e.setBefore(0)
	e.setBehind(0)
	hash := Hash(prefix)
	slot, before := t.findSeries(hash, prefix)
	if before == 0 {
		t.series.reserve(&t.arena)
		t.series.insert(hash, r)
		return
	}
	behind := ref(0)
	for n := 0; before != 0 && bytes.Compare(t.at(before).key(), key) > 0; n++ {
		if n == longestInsert {
			t.unlinkAll()
			return
		}
		before, behind = t.at(before).before(), before
	}
	e.setBefore(before)
	e.setBehind(behind)
	if before != 0 {
		t.at(before).setBehind(r)
	}
	if behind != 0 {
		t.at(behind).setBefore(r)
	} else {
		t.series.slots[slot] = slotOf(hash, r)
	}
}

// relink puts an entry in the place of an older one of its key.
func (t *Table) relink(older, r ref) {
	e := t.at(r)
	prefix := t.series.of.Prefix(e.key())
	if !t.series.on || prefix == nil {
		return
	}
	before, behind := t.at(older).before(), t.at(older).behind()
	e.setBefore(before)
	e.setBehind(behind)
	if before != 0 {
		t.at(before).setBehind(r)
	}
	if behind != 0 {
		t.at(behind).setBefore(r)
		return
	}
	hash := Hash(prefix)
	slot, _ := t.findSeries(hash, prefix)
	t.series.slots[slot] = slotOf(hash, r)
}

// unlink removes an entry from its series.
func (t *Table) unlink(r ref) {
	e := t.at(r)
	prefix := t.series.of.Prefix(e.key())
	if !t.series.on || prefix == nil {
		return
	}
	before, behind := e.before(), e.behind()
	if before != 0 {
		t.at(before).setBehind(behind)
	}
	if behind != 0 {
		t.at(behind).setBefore(before)
		return
	}
	hash := Hash(prefix)
	if before == 0 {
		t.series.remove(hash, r)
		return
	}
	slot, _ := t.findSeries(hash, prefix)
	t.series.slots[slot] = slotOf(hash, before)
}

// unlinkAll gives the index up. Cursors that walk over a series search their place in the order.
func (t *Table) unlinkAll() {
	t.series.drop(&t.arena)
	t.series.on = false
	t.version++
}

// seekInSeries moves to where a scan of a series begins: forward to the first entry whose key is at
// least key, or with excluded greater; backward to the last one whose key is at most key, or with
// excluded less. It reports false when the order has to be searched.
func (c *Cursor) seekInSeries(key []byte, excluded, backward bool) bool {
	t, n := c.table, len(c.prefix)
	if !t.series.on {
		return false
	}
	_, at := t.findSeries(Hash(c.prefix), c.prefix)
	found, longest := ref(0), longestSeek
	if t.order.Load() != nil {
		longest = orderedSeek
	}
	for steps := 0; at != 0; steps++ {
		if steps == longest {
			return false
		}
		order := bytes.Compare(t.at(at).key()[n:], key[n:])
		if order < 0 || order == 0 && excluded != backward {
			break
		}
		found, at = at, t.at(at).before()
	}
	if backward {
		found = at
	}
	c.version, c.entry = t.version, found
	return true
}
