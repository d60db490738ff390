package op

import (
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// WindowRows are the rows of a windowed table in its store. Its buffers are used again, so each operator opens its own. Owned by
// the task's goroutine.
type WindowRows[K, A any] struct {
	name  string
	store store.WindowBytes
	keep  func(store.Headers) // nil: the store keeps none
	key   *rowserde.Side[K]
	value *rowserde.Side[A]

	at    []byte // the encoded key that For was given
	start int64  // of the row that was loaded
	raw   []byte // its value, until the next call on the store
}

// OpenWindows returns the rows of a window store.
func OpenWindows[K, A any](name string, b store.WindowBytes, key serde.Serde[K], value serde.Serde[A]) (*WindowRows[K, A], error) {
	w := &WindowRows[K, A]{name: name, store: b, keep: store.Keep(b)}
	var err error
	w.key, w.value, err = sides(name, key, value)
	return w, err
}

// sides are the keys and values of a store.
func sides[K, A any](name string, key serde.Serde[K], value serde.Serde[A]) (*rowserde.Side[K], *rowserde.Side[A], error) {
	k, err := rowserde.New(key, name, true)
	if err != nil {
		return nil, nil, fmt.Errorf("store %q: keys: %w", name, err)
	}
	v, err := rowserde.New(value, name, false)
	if err != nil {
		return nil, nil, fmt.Errorf("store %q: values: %w", name, err)
	}
	return k, v, nil
}

// Keep says which headers the rows get that are saved from now on, if the store keeps any.
func (w *WindowRows[K, A]) Keep(h store.Headers) {
	if w.keep != nil {
		w.keep(h)
	}
}

// Settled tells the store that what it had when ObservedTime was at has settled.
func (w *WindowRows[K, A]) Settled(at int64) error { return w.store.Observe(at) }

// ObservedTime is the store's.
func (w *WindowRows[K, A]) ObservedTime() int64 { return w.store.ObservedTime() }

// Get returns the row of k: a wire.Getter.
func (w *WindowRows[K, A]) Get(k window.Key[K]) (a A, at int64, ok bool, err error) {
	if err := w.of(k.Key); err != nil {
		return a, 0, false, err
	}
	return w.load(k.Start.UnixMilli())
}

// of says which key is meant from here on.
func (w *WindowRows[K, A]) of(k K) (err error) {
	if w.at, err = w.key.Encode(k); err != nil {
		return w.record("encode the key", err)
	}
	return nil
}

// load returns the row of the window that begins at start, which again, save and remove then mean.
func (w *WindowRows[K, A]) load(start int64) (a A, at int64, ok bool, err error) {
	w.start = start
	if w.raw, at, ok, err = w.store.Get(w.at, start); err != nil {
		return a, 0, false, w.wrap("get", err)
	}
	if !ok {
		return a, 0, false, nil
	}
	a, err = w.again()
	return a, at, true, err
}

// visited means the row that a scan has come to.
func (w *WindowRows[K, A]) visited(start int64, raw []byte) (A, error) {
	w.start, w.raw = start, raw
	return w.again()
}

// again decodes the row's value a second time, for an owner of its own, before anything else is done with the store.
func (w *WindowRows[K, A]) again() (A, error) {
	a, err := w.value.Decode(w.raw)
	if err != nil {
		return a, w.wrap("decode the value", err)
	}
	return a, nil
}

// save writes the row; kept is false when the store does not keep windows that long ago.
func (w *WindowRows[K, A]) save(a A, at int64) (kept bool, err error) {
	b, err := w.value.Encode(a)
	if err != nil {
		return false, w.record("encode the value", err)
	}
	return w.put(b, at)
}

func (w *WindowRows[K, A]) put(b []byte, at int64) (kept bool, err error) {
	if kept, err = w.store.Put(w.at, w.start, b, at); err != nil {
		return false, w.record("put", err)
	}
	return kept, nil
}

func (w *WindowRows[K, A]) remove(at int64) error {
	if err := w.store.Delete(w.at, w.start, at); err != nil {
		return w.record("delete", err)
	}
	return nil
}

func (w *WindowRows[K, A]) wrap(what string, err error) error {
	return fmt.Errorf("store %q, key %q, window at %d: %s: %w", w.name, w.at, w.start, what, err)
}

func (w *WindowRows[K, A]) record(what string, err error) error {
	return &RecordError{w.wrap(what, err)}
}

// Windows is an aggregation in windows that have a length: what fixed and sliding ones share.
type Windows[K, V, A any] struct {
	Windowing[K, V, A]
	Rows *WindowRows[K, A]
	Size int64
}

// fold adds r to a row that is there, or not, with value a. The row is the one that was loaded or visited.
func (w *Windows[K, V, A]) fold(r topology.Record[K, V], a A, was int64, row bool, end int64) error {
	at := r.Time.UnixMilli()
	res := Folded[A]{Time: max(at, was)}
	var err error
	if w.Old || w.Hold {
		if res.Old, res.HasOld, err = w.old(row); err != nil {
			return err
		}
	}
	return w.add(r, res, a, row, end)
}

func (w *Windows[K, V, A]) old(row bool) (a A, ok bool, err error) {
	switch {
	case row && w.Old:
		a, err = w.Rows.again()
		return a, true, err
	case w.Hold:
		return a, row, nil
	}
	a, ok = began(w.Start)
	return a, ok, nil
}

// add writes and sends a row that r is added to; res has its time and old value.
func (w *Windows[K, V, A]) add(r topology.Record[K, V], res Folded[A], a A, row bool, end int64) error {
	a = w.Add(r.Key, r.Value, a, row)
	k := windowKey(r.Key, w.Rows.start, end)
	if w.Delete != nil && w.Delete(k, a) {
		if res.Gone = true; w.Hold { // as in Kafka Streams, of what is held back
			res.Time = r.Time.UnixMilli()
		}
		if err := w.Rows.remove(r.Time.UnixMilli()); err != nil {
			return err
		}
		return w.send(r, k, res)
	}
	res.New = a
	kept, err := w.Rows.save(a, res.Time)
	return w.saved(r, k, res, kept, err)
}

// saved sends a row that was written.
func (w *Windows[K, V, A]) saved(r topology.Record[K, V], k window.Key[K], res Folded[A], kept bool, err error) error {
	if err != nil {
		return err
	}
	if !kept { // another operator, which writes the same store, is far ahead
		w.Late()
		return nil
	}
	w.closing.put(w.Rows.start)
	return w.send(r, k, res)
}

// fresh is what Add gets where there is no row.
func (w *Windows[K, V, A]) fresh() (a A) {
	if w.Start != nil {
		a = w.Start()
	}
	return a
}

// flush sends the rows of the windows that begin in [from, to] and are closed by r.
func (w *Windows[K, V, A]) flush(r topology.Record[K, V], from, to int64) error {
	w.closing.begin()
	for e, err := range w.Rows.store.ByTime(max(from, 0), math.MaxInt64) {
		if err != nil {
			return w.Rows.wrap("scan", err)
		}
		if e.Start > to {
			w.closing.put(e.Start)
			break
		}
		k, err := w.Rows.key.Decode(e.Key)
		if err != nil {
			return fmt.Errorf("store %q, key %q: decode the key: %w", w.Rows.name, e.Key, err)
		}
		start, at := e.Start, e.Time
		a, err := w.Rows.visited(start, e.Value)
		if err != nil {
			return err
		}
		if err := w.sendClosed(r, windowKey(k, start, start+w.Size), a, at); err != nil {
			return err
		}
	}
	return nil
}
