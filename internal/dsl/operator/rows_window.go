package operator

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/window"
)

// WindowRows reads and writes the rows of a windowed table in its store. Its buffers are reused, so
// each operator opens its own. Owned by the task's goroutine.
type WindowRows[K, A any] struct {
	storeRows[K, A]
	store storage.WindowBytes

	start int64  // of the row that was loaded
	raw   []byte // the loaded row's value; valid until the next call on the store
}

// OpenWindows returns the rows of a window store. try is as for Open.
func OpenWindows[K, A any](
	name string, b storage.WindowBytes, key serde.Serde[K], value serde.Serde[A], try retry.Func,
) (*WindowRows[K, A], error) {
	rows, err := openStoreRows(name, b, key, value, try)
	return &WindowRows[K, A]{storeRows: rows, store: b}, err
}

// Settled tells the store that everything it had when ObservedTime was at has settled, so rows that
// expire by that time may be dropped.
func (w *WindowRows[K, A]) Settled(at int64) error { return w.store.Observe(at) }

// ObservedTime returns the greatest time that was put into the store.
func (w *WindowRows[K, A]) ObservedTime() int64 { return w.store.ObservedTime() }

// Get returns the row of k. It is a wire.Getter.
func (w *WindowRows[K, A]) Get(k window.Key[K]) (a A, at int64, ok bool, err error) {
	if err := w.setKey(k.Key); err != nil {
		return a, 0, false, err
	}
	return w.load(k.Start.UnixMilli())
}

// load returns the row of the window that begins at start. decodeAgain, save and remove refer to
// this row until the next load.
func (w *WindowRows[K, A]) load(start int64) (agg A, at int64, ok bool, err error) {
	w.start = start
	if w.raw, at, ok, err = w.store.Get(w.keyBytes, start); err != nil {
		return agg, 0, false, w.wrap("get", err)
	}
	if !ok {
		return agg, 0, false, nil
	}
	agg, err = w.decodeAgain()
	return agg, at, true, err
}

// setVisited makes the row that a scan has reached the loaded one, and returns its value.
func (w *WindowRows[K, A]) setVisited(start int64, raw []byte) (A, error) {
	w.start, w.raw = start, raw
	return w.decodeAgain()
}

// decodeAgain decodes the loaded value once more, so that the caller has a copy that a user's
// function cannot change. It must be called before any other call on the store.
func (w *WindowRows[K, A]) decodeAgain() (A, error) {
	a, err := w.value.Decode(w.raw)
	if err != nil {
		return a, w.wrap("decode the value", err)
	}
	return a, nil
}

// save writes the loaded row. stored is false when the window is older than the store's retention.
func (w *WindowRows[K, A]) save(a A, at int64) (stored bool, err error) {
	b, err := w.value.Encode(a)
	if err != nil {
		return false, err
	}
	return w.put(b, at)
}

func (w *WindowRows[K, A]) put(b []byte, at int64) (stored bool, err error) {
	if stored, err = w.store.Put(w.keyBytes, w.start, b, at); err != nil {
		return w.putAgain(b, at, err)
	}
	return stored, nil
}

func (w *WindowRows[K, A]) putAgain(b []byte, at int64, err error) (stored bool, _ error) {
	err = onRowError(w.try, w.wrap, "put", err, func() (err error) {
		stored, err = w.store.Put(w.keyBytes, w.start, b, at)
		return err
	})
	return stored, err
}

func (w *WindowRows[K, A]) remove(at int64) error {
	if err := w.store.Delete(w.keyBytes, w.start, at); err != nil {
		return onRowError(w.try, w.wrap, "delete", err, func() error { return w.store.Delete(w.keyBytes, w.start, at) })
	}
	return nil
}

func (w *WindowRows[K, A]) wrap(what string, err error) error {
	return fmt.Errorf("store %q, key %s, window at %d: %s: %w", w.name, quote.Key(w.keyBytes), w.start, what, err)
}
