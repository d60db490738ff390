package global

import (
	"iter"

	"github.com/millstream-go/millstream/internal/storage"
)

// readerView is a SharedStore for one reading goroutine.
type readerView struct {
	store *SharedStore
	buf   []byte // never nil: an empty value is a value
}

// Get implements storage.Bytes.
func (v *readerView) Get(key []byte) ([]byte, int64, bool, error) {
	b, at, ok, err := v.store.get(v.buf[:0], key, false)
	if !ok {
		return nil, 0, false, err
	}
	v.buf = b
	return b, at, true, nil
}

// Put implements storage.Bytes: tasks refuse it with an error that says where to write.
func (v *readerView) Put([]byte, []byte, int64) error { return errReadOnly }

// Delete implements storage.Bytes.
func (v *readerView) Delete([]byte, int64) error { return errReadOnly }

// Scan implements storage.Bytes. What the follower writes ahead of it may be seen or not.
func (v *readerView) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return v.store.scan(r, false)
}

// Len implements storage.Bytes. It counts.
func (v *readerView) Len() (int64, error) { return v.store.count(false) }

// writerView is a SharedStore for the goroutine that writes it.
type writerView struct {
	*SharedStore
	buf []byte
}

func newWriterView(s *SharedStore) *writerView { return &writerView{s, make([]byte, 0, 64)} }

var _ storage.Engine = (*writerView)(nil)

// withEngine calls f with the engine, which nobody reads meanwhile.
func (w *writerView) withEngine(f func(storage.Engine) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.engine == nil {
		return ErrClosed
	}
	w.writes++
	return f(w.engine)
}

// Get implements storage.Bytes. Others may read meanwhile, so it is a copy, too.
func (w *writerView) Get(key []byte) ([]byte, int64, bool, error) {
	b, at, ok, err := w.get(w.buf[:0], key, true)
	if !ok {
		return nil, 0, false, err
	}
	w.buf = b
	return b, at, true, nil
}

// Put implements storage.Bytes.
func (w *writerView) Put(key, value []byte, time int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.engine == nil {
		return ErrClosed
	}
	w.writes++
	return w.engine.Put(key, value, time)
}

// Delete implements storage.Bytes.
func (w *writerView) Delete(key []byte, time int64) error {
	return w.withEngine(func(e storage.Engine) error { return e.Delete(key, time) })
}

// Scan implements storage.Bytes.
func (w *writerView) Scan(r storage.Range) iter.Seq2[storage.Entry, error] { return w.scan(r, true) }

// Len implements storage.Bytes. It counts.
func (w *writerView) Len() (int64, error) { return w.count(true) }

// Cut implements storage.Engine.
func (w *writerView) Cut(emit func(storage.Change) error) (epoch uint64, err error) {
	err = w.withEngine(func(e storage.Engine) (err error) {
		epoch, err = e.Cut(emit)
		return err
	})
	return epoch, err
}

// Sizes implements storage.Engine.
func (w *writerView) Sizes() storage.Sizes { return w.SharedStore.Sizes() }

// Expire implements storage.Engine.
func (w *writerView) Expire(from, to []byte) {
	_ = w.withEngine(func(e storage.Engine) error {
		e.Expire(from, to)
		return nil
	})
}

// Settle implements storage.Engine.
func (w *writerView) Settle(epoch uint64, c storage.Checkpoint) {
	_ = w.withEngine(func(e storage.Engine) error {
		e.Settle(epoch, c)
		return nil
	})
}

// Undo implements storage.Engine.
func (w *writerView) Undo() error { return w.withEngine(storage.Engine.Undo) }

// Checkpoint implements storage.Engine.
func (w *writerView) Checkpoint() (c storage.Checkpoint, ok bool) {
	_ = w.withEngine(func(e storage.Engine) error {
		c, ok = e.Checkpoint()
		return nil
	})
	return c, ok
}

// Position implements storage.Engine.
func (w *writerView) Position() (c storage.Checkpoint, ok bool) {
	_ = w.withEngine(func(e storage.Engine) error {
		c, ok = e.Position()
		return nil
	})
	return c, ok
}

// ForgetPosition implements storage.Engine.
func (w *writerView) ForgetPosition() {
	_ = w.withEngine(func(e storage.Engine) error {
		e.ForgetPosition()
		return nil
	})
}

// Restore implements storage.Engine.
func (w *writerView) Restore(changes []storage.Change, c storage.Checkpoint) error {
	return w.withEngine(func(e storage.Engine) error { return e.Restore(changes, c) })
}

// Truncate implements storage.Engine.
func (w *writerView) Truncate() error { return w.withEngine(storage.Engine.Truncate) }

// Dirty implements storage.Engine.
func (w *writerView) Dirty() (n int64) {
	_ = w.withEngine(func(e storage.Engine) error {
		n = e.Dirty()
		return nil
	})
	return n
}

// Flush implements storage.Engine.
func (w *writerView) Flush(wait bool) error {
	return w.withEngine(func(e storage.Engine) error { return e.Flush(wait) })
}

// Healthy implements storage.Engine.
func (w *writerView) Healthy() error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.engine == nil {
		return nil
	}
	return w.engine.Healthy()
}

// Close implements storage.Engine. It does nothing: the state directory closes the engine.
func (w *writerView) Close(bool) error { return nil }
