package op

import (
	"iter"
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// Windowing is what aggregations in windows have in common. Times are milliseconds since 1970.
type Windowing[K, V, A any] struct {
	// Start and Add are those of Fold.
	Start func() A
	Add   func(k K, v V, a A, row bool) A
	// Delete says that the row is to be deleted. May be nil.
	Delete func(window.Key[K], A) bool
	// Old says that changes carry old values.
	Old bool
	// Hold says that changes are held back until a commit: they say in HasOld whether there was a row, whatever Old says.
	Hold bool
	// OnClose says that a row is sent when its window is closed, and not before.
	OnClose bool
	// Grace is how long after its end a window takes records.
	Grace int64
	// Time is the operator's stream time, -1 before the first record. It outlives the operator.
	Time *int64
	// Late counts a record, or its part in one window, that comes when the window is closed.
	Late func()
	// Out gets the changes.
	Out wire.TableOutlet[window.Key[K], A]

	closing closing
}

// see moves stream time, and returns what it was.
func (w *Windowing[K, V, A]) see(at int64) (before int64) {
	before = *w.Time
	if before != w.closing.seen { // it was set to what was committed
		w.closing.known = false
	}
	*w.Time = max(before, at)
	w.closing.seen = *w.Time
	return before
}

// closes says whether at, if it is later than stream time, closes a row, whose mark is in [from, to] then. rows visits those with such marks:
// after a restart it is not known which there are.
func (w *Windowing[K, V, A]) closes(at, from, to int64, rows func(from, to int64) iter.Seq2[store.WindowEntry, error]) bool {
	c := &w.closing
	switch {
	case *w.Time < 0 || at <= *w.Time || to < max(from, 0):
		return false
	case c.known && c.seen == *w.Time:
		return c.next <= to
	}
	for range rows(max(from, 0), to) {
		return true // or there is an error, which See meets again
	}
	return false
}

// send sends on what r has made of the row of a window.
func (w *Windowing[K, V, A]) send(r topology.Record[K, V], k window.Key[K], res Folded[A]) error {
	if w.OnClose {
		return nil
	}
	c := wire.Change[window.Key[K], A]{Record: topology.WithValue(topology.WithKey(r, k), res.New), Old: res.Old, HasOld: res.HasOld}
	c.Tombstone = res.Gone
	c.Time = time.UnixMilli(res.Time)
	return w.Out(c)
}

// sendClosed sends the row of a window that r has closed.
func (w *Windowing[K, V, A]) sendClosed(r topology.Record[K, V], k window.Key[K], a A, at int64) error {
	c := wire.Change[window.Key[K], A]{Record: topology.WithValue(topology.WithKey(r, k), a)}
	c.Time = time.UnixMilli(at)
	return w.Out(c)
}

// began is the old value of a row that was not there: that of start, if it is not nil (see Fold.Record).
func began[A any](start func() A) (a A, ok bool) {
	if start == nil {
		return a, false
	}
	a = start()
	return a, !isNil(&a)
}

func windowKey[K any](k K, start, end int64) window.Key[K] {
	return window.Key[K]{Key: k, Start: time.UnixMilli(start), End: time.UnixMilli(end)}
}

// closing knows which windows may have closed unsent, so that stream time, which moves with nearly every record, does not cost a scan
// each time. A window is known by its mark: the start of a window, the end of a session. Marks are closed in ascending order.
//
// What is closed is sent before the record that closes it is stored: that record may move the store's time so far that the closed rows
// expire. Kafka Streams stores first, and loses them.
type closing struct {
	next  int64 // no mark that is not closed yet is smaller
	known bool  // next was found: it is not after a restart
	seen  int64 // stream time, as far as the above takes it into account
}

// put says that a row with this mark was written.
func (c *closing) put(mark int64) { c.next = min(c.next, mark) }

// due returns whether there may be a row with a mark in [from, to].
func (c *closing) due(from, to int64) bool {
	return to >= max(from, 0) && !(c.known && to < c.next)
}

// begin is called before the rows from the smallest mark on are visited, and put with the first mark that is not closed yet.
func (c *closing) begin() { c.next, c.known = math.MaxInt64, true }
