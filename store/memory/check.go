package memory

import (
	"bytes"

	"github.com/millstream-go/millstream/internal/invariant"
)

// check looks at all of the table's invariants, in builds with the tag "invariants".
func (t *Table) check() {
	if !invariant.Enabled {
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
	if o := t.order.Load(); o != nil {
		t.checkOrder(o)
	}
}

func (t *Table) checkEntry(r ref) (live int64) {
	e := entry(t.arena.bytes(r))
	switch {
	case e.state() == Live:
		live = 1
	case e.state() == Absent, t.bottom && !t.pending(e.epoch()):
		invariant.Fail("table invariant 3: entry %q is in state %d of epoch %d", e.key(), e.state(), e.epoch())
	}
	if t.pending(e.epoch()) && node(t.arena.bytes(e.before())).entry() != r {
		invariant.Fail("table invariant 1: entry %q leads to another one's version", e.key())
	}
	return live
}

func (t *Table) checkLogs() {
	for i, l := range t.logs {
		if l.epoch > t.epoch || i > 0 && t.logs[i-1].epoch >= l.epoch {
			invariant.Fail("table invariant 2: log %d is of epoch %d, the table is at %d", i, l.epoch, t.epoch)
		}
	}
}

func (t *Table) checkOrder(o *order) {
	if o.n != t.index.n {
		invariant.Fail("%d entries are in order, %d in the index", o.n, t.index.n)
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
				invariant.Fail("%q comes after %q", key, last)
			}
			last = key
		}
	}
}
