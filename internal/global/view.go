package global

import (
	"iter"

	"github.com/millstream-go/millstream/store"
)

// view is a Shared for one reading goroutine.
type view struct {
	s   *Shared
	buf []byte // never nil: an empty value is a value
}

// Get implements store.Bytes.
func (v *view) Get(key []byte) ([]byte, int64, bool, error) {
	b, at, ok, err := v.s.get(v.buf[:0], key)
	if !ok {
		return nil, 0, false, err
	}
	v.buf = b
	return b, at, true, nil
}

// Put implements store.Bytes: tasks refuse it with an error that says where to write.
func (v *view) Put([]byte, []byte, int64) error { return errReadOnly }

// Delete implements store.Bytes.
func (v *view) Delete([]byte, int64) error { return errReadOnly }

// Scan implements store.Bytes. What the follower writes ahead of it may be seen or not.
func (v *view) Scan(r store.Range) iter.Seq2[store.Entry, error] { return v.s.scan(r, false) }

// Len implements store.Bytes. It counts.
func (v *view) Len() (int64, error) { return v.s.count() }

// owner is a Shared for the goroutine that writes it.
type owner struct {
	*Shared
	buf []byte
}

func newOwner(s *Shared) *owner { return &owner{s, make([]byte, 0, 64)} }

var _ store.Engine = (*owner)(nil)

// with calls f with the engine, which nobody reads meanwhile.
func (o *owner) with(f func(store.Engine) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.engine == nil {
		return ErrClosed
	}
	o.writes++
	return f(o.engine)
}

// Get implements store.Bytes. Others may read meanwhile, so it is a copy, too.
func (o *owner) Get(key []byte) ([]byte, int64, bool, error) {
	b, at, ok, err := o.get(o.buf[:0], key)
	if !ok {
		return nil, 0, false, err
	}
	o.buf = b
	return b, at, true, nil
}

// Put implements store.Bytes.
func (o *owner) Put(key, value []byte, time int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.engine == nil {
		return ErrClosed
	}
	o.writes++
	return o.engine.Put(key, value, time)
}

// Delete implements store.Bytes.
func (o *owner) Delete(key []byte, time int64) error {
	return o.with(func(e store.Engine) error { return e.Delete(key, time) })
}

// Scan implements store.Bytes.
func (o *owner) Scan(r store.Range) iter.Seq2[store.Entry, error] { return o.scan(r, true) }

// Len implements store.Bytes. It counts.
func (o *owner) Len() (int64, error) { return o.count() }

// Cut implements store.Engine.
func (o *owner) Cut(emit func(store.Change) error) (epoch uint64, err error) {
	err = o.with(func(e store.Engine) (err error) {
		epoch, err = e.Cut(emit)
		return err
	})
	return epoch, err
}

// Expire implements store.Engine.
func (o *owner) Expire(from, to []byte) {
	_ = o.with(func(e store.Engine) error {
		e.Expire(from, to)
		return nil
	})
}

// Settle implements store.Engine.
func (o *owner) Settle(epoch uint64, c store.Checkpoint) {
	_ = o.with(func(e store.Engine) error {
		e.Settle(epoch, c)
		return nil
	})
}

// Undo implements store.Engine.
func (o *owner) Undo() error { return o.with(store.Engine.Undo) }

// Checkpoint implements store.Engine.
func (o *owner) Checkpoint() (c store.Checkpoint, ok bool) {
	_ = o.with(func(e store.Engine) error {
		c, ok = e.Checkpoint()
		return nil
	})
	return c, ok
}

// Restore implements store.Engine.
func (o *owner) Restore(changes []store.Change, c store.Checkpoint) error {
	return o.with(func(e store.Engine) error { return e.Restore(changes, c) })
}

// Truncate implements store.Engine.
func (o *owner) Truncate() error { return o.with(store.Engine.Truncate) }

// Dirty implements store.Engine.
func (o *owner) Dirty() (n int64) {
	_ = o.with(func(e store.Engine) error {
		n = e.Dirty()
		return nil
	})
	return n
}

// Flush implements store.Engine.
func (o *owner) Flush(wait bool) error {
	return o.with(func(e store.Engine) error { return e.Flush(wait) })
}

// Healthy implements store.Engine.
func (o *owner) Healthy() error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.engine == nil {
		return nil
	}
	return o.engine.Healthy()
}

// Close implements store.Engine: the directory that lent the engine closes it.
func (o *owner) Close(bool) error { return nil }
