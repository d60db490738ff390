package memtable

import (
	"bytes"
	"slices"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/quote"
)

// check verifies all invariants of the table, in builds with the tag "invariants".
func (t *Table) check() {
	if !invariant.Enabled || t.pile.Load() != nil {
		return
	}
	live := int64(0)
	for _, s := range t.index.slots {
		if s != 0 {
			live += t.checkEntry(ref(s))
		}
	}
	if live != t.live {
		invariant.Fail("%d rows are live, %d are counted", live, t.live)
	}
	t.checkLogs()
	t.checkSeries()
	if o := t.order.Load(); o != nil {
		t.checkOrder(o)
	}
}

func (t *Table) checkEntry(r ref) (live int64) {
	e := entry(t.arena.bytes(r))
	switch {
	case e.state() == Live:
		live = 1
	case e.state() == Absent, t.onlyLevel && !t.logged(e.epoch()):
		invariant.Fail("table invariant 3: entry %s is in state %d of epoch %d", quote.Key(e.key()), e.state(), e.epoch())
	}
	if t.logged(e.epoch()) && undoRecord(t.arena.bytes(e.undo())).entry() != r {
		invariant.Fail("table invariant 1: entry %s leads to another one's version", quote.Key(e.key()))
	}
	return live
}

func (t *Table) checkLogs() {
	logs := append(slices.Clone(t.retained), t.logs...)
	for i, l := range logs {
		if l.epoch > t.epoch || i > 0 && logs[i-1].epoch >= l.epoch {
			invariant.Fail("table invariant 2: log %d is of epoch %d, the table is at %d", i, l.epoch, t.epoch)
		}
	}
}

// checkSeries verifies that each entry that belongs to a series is linked in it, in order.
func (t *Table) checkSeries() {
	if !t.series.on {
		return
	}
	belong, linked := 0, 0
	for _, s := range t.index.slots {
		if s != 0 && t.series.of.Prefix(t.at(ref(s)).key()) != nil {
			belong++
		}
	}
	for _, s := range t.series.slots {
		for r, behind := ref(s), ref(0); r != 0; r, behind = t.at(r).before(), r {
			linked++
			switch key := t.at(r).key(); {
			case t.at(r).behind() != behind:
				invariant.Fail("%s is not linked to what is behind it", quote.Key(key))
			case behind != 0 && bytes.Compare(t.at(behind).key(), key) <= 0:
				invariant.Fail("%s comes after %s in its series", quote.Key(t.at(behind).key()), quote.Key(key))
			}
		}
	}
	if belong != linked {
		invariant.Fail("%d entries belong to series, %d are linked", belong, linked)
	}
}

func (t *Table) checkOrder(o *order) {
	if o.count != t.index.count {
		invariant.Fail("%d entries are in order, %d in the index", o.count, t.index.count)
	}
	var last []byte
	for i := range o.leaves {
		l := o.leaf(i)
		if o.leaves[i].first != l.ref(0) || o.leaves[i].prefix != l.prefix(0) {
			invariant.Fail("leaf %d of %d does not start with what is above it", i, len(o.leaves))
		}
		for j := range l.len() {
			key := o.key(l.ref(j))
			if last != nil && bytes.Compare(last, key) >= 0 || l.prefix(j) != o.prefix(key) {
				invariant.Fail("%s comes after %s", quote.Key(key), quote.Key(last))
			}
			last = key
		}
	}
}
