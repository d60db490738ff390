package operator

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/buffer"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Suppress buffers the changes of a table: the newest one of each key, until it is due or the
// buffer is full.
type Suppress[K, V any] struct {
	name               string
	key                *codec.Codec[K]
	newSerde, oldSerde *codec.Codec[V]
	buffer             *buffer.Keyed
	try                retry.Func

	// Wait is how long after an entry's time it is due, in milliseconds of stream time.
	Wait int64
	// DueFrom returns the time of a new entry, made by a change of k at the given time. Nil: that
	// time.
	DueFrom func(k K, at int64) int64
	// DropTombstones drops deletions when they are due: final results of windows have none.
	DropTombstones bool
	// MaxRecords and MaxBytes bound the buffer; 0: no bound. FailWhenFull makes a full buffer an
	// error. Without it the oldest entries are emitted early.
	MaxRecords, MaxBytes int64
	FailWhenFull         bool
	// Old has changes carry old values: the value that was emitted last.
	Old bool
	// OutUnsent gets each emitted change, too, but with the old value before the newest change,
	// even if that value was never emitted. May be nil.
	OutUnsent wire.TableOutlet[K, V]
	// DropTransient drops rows that appeared and were deleted while they were in the buffer.
	DropTransient bool
}

// ErrFull ends a task whose buffer is full and must not emit early.
var ErrFull = errors.New("the buffer is full")

// OpenSuppress opens the buffer that a store has. try is as for Open.
func OpenSuppress[K, V any](
	name string, rows storage.Bytes, key serde.Serde[K], value serde.Serde[V], try retry.Func,
) (*Suppress[K, V], error) {
	s := &Suppress[K, V]{name: name, try: try}
	var errs [4]error
	s.key, errs[0] = codec.New(key, name, true, try)
	s.newSerde, errs[1] = codec.New(value, name, false, try)
	s.oldSerde, errs[2] = codec.New(value, name, false, try)
	s.buffer, errs[3] = buffer.OpenKeyed(name, rows)
	return s, errors.Join(errs[:]...)
}

// Change buffers a change and emits what is due. stream is the stream time, which includes the
// change's own.
func (s *Suppress[K, V]) Change(change wire.Change[K, V], stream int64, out wire.TableOutlet[K, V]) error {
	if err := s.put(change); err != nil {
		return err
	}
	limit := stream - s.Wait
	for due, ok := s.buffer.First(); ok && due <= limit; due, ok = s.buffer.First() {
		if err := s.emitFirst(out); err != nil {
			return err
		}
	}
	// Time alone may not make room. Entries are emitted early, oldest first, until the bounds hold
	// again.
	for s.full() {
		if s.FailWhenFull {
			return fmt.Errorf("%w: it has %s and %s, and StopWhenFull does not let it send early",
				ErrFull, usage(int64(s.buffer.Len()), s.MaxRecords, "records"), usage(s.buffer.Size(), s.MaxBytes, "bytes"))
		}
		if err := s.emitFirst(out); err != nil {
			return err
		}
	}
	return nil
}

// Add buffers a change and emits nothing.
func (s *Suppress[K, V]) Add(c wire.Change[K, V]) error { return s.put(c) }

// Flush emits everything.
func (s *Suppress[K, V]) Flush(out wire.TableOutlet[K, V]) error {
	for s.buffer.Len() > 0 {
		if err := s.emitFirst(out); err != nil {
			return err
		}
	}
	return nil
}

func usage(n, most int64, what string) string {
	if most == 0 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d of %d %s", n, most, what)
}

func (s *Suppress[K, V]) full() bool {
	return s.MaxRecords > 0 && int64(s.buffer.Len()) > s.MaxRecords ||
		s.MaxBytes > 0 && s.buffer.Size() > s.MaxBytes && s.buffer.Len() > 0
}

func (s *Suppress[K, V]) put(change wire.Change[K, V]) error {
	key, err := s.key.Encode(change.Key)
	if err != nil {
		return err
	}
	at := change.Time.UnixMilli()
	v := buffer.Value{Time: at, Source: change.Source(), Headers: change.Headers}
	if !change.Tombstone {
		if v.New, err = s.newSerde.Encode(change.Value); err != nil {
			return err
		}
	}
	if change.HasOld {
		if v.Old, err = s.oldSerde.Encode(change.Old); err != nil {
			return err
		}
	}
	// For final results the end of the window decides when the entry is due, not the record that
	// changed it.
	if s.DueFrom != nil {
		at = s.DueFrom(change.Key, at)
	}
	if err = s.buffer.Put(key, at, v); err != nil {
		return s.putAgain(key, at, v, err)
	}
	return nil
}

func (s *Suppress[K, V]) putAgain(key []byte, at int64, v buffer.Value, err error) error {
	return onBufferError(s.try, err, func() error { return s.buffer.Put(key, at, v) })
}

// emitFirst emits the first entry, with the time and headers of the record that changed it last.
func (s *Suppress[K, V]) emitFirst(out wire.TableOutlet[K, V]) error {
	key, v, err := s.buffer.Head()
	if err != nil {
		return err
	}
	// Windows that are final have no deletions, and a row that downstream has never seen needs
	// none.
	if deleted := v.New == nil; !deleted || !s.DropTombstones && !(s.DropTransient && v.Prior == nil) {
		unsent := v.Old
		v.Old = v.Prior
		c, err := s.decodeChange(key, v)
		if err != nil {
			return err
		}
		before := c
		// Both changes are decoded before either is emitted: a step that follows may write the
		// store, and the values lie in its memory.
		if s.OutUnsent != nil {
			if before.Old, before.HasOld, err = s.decodeOld(unsent); err != nil {
				return s.decodeError(key, err)
			}
		}
		if err := out(c); err != nil {
			return err
		}
		if s.OutUnsent != nil {
			if err := s.OutUnsent(before); err != nil {
				return err
			}
		}
	}
	// The entry stays until its change has been emitted. A join downstream that reads the row
	// meanwhile must find the value that was emitted before (see SeenGetter), and a failure in
	// between must not lose the change.
	return s.buffer.Remove()
}

func (s *Suppress[K, V]) decodeOld(b []byte) (v V, ok bool, err error) {
	if !s.Old || b == nil {
		return v, false, nil
	}
	v, err = s.oldSerde.Decode(b)
	return v, true, err
}

func (s *Suppress[K, V]) decodeError(key []byte, err error) error {
	return keyError(s.name, key, "decode the value", err)
}

func (s *Suppress[K, V]) decodeChange(key []byte, buffered *buffer.Value) (change wire.Change[K, V], err error) {
	k, err := s.key.Decode(key)
	if err != nil {
		return change, keyError(s.name, key, "decode the key", err)
	}
	r := topology.Record[K, V]{
		Key: k, Tombstone: buffered.New == nil, Time: time.UnixMilli(buffered.Time),
		Headers: buffer.CopyHeaders(buffered.Headers),
	}
	if buffered.New != nil {
		r.Value, err = s.newSerde.Decode(buffered.New)
	}
	if err == nil {
		change.Old, change.HasOld, err = s.decodeOld(buffered.Old)
	}
	change.Record = r.From(buffered.Source)
	if err != nil {
		return change, s.decodeError(key, err)
	}
	return change, nil
}

// SeenGetter returns how rows are read as the steps after a Suppress have seen them: the value
// before for a key in the buffer, and the row of the table before it otherwise. rows is the
// buffer's store.
func SeenGetter[K, V any](
	name string, rows storage.Bytes, key serde.Serde[K], value serde.Serde[V], of wire.Getter[K, V], try retry.Func,
) (wire.Getter[K, V], error) {
	keys, errKeys := codec.New(key, name, true, try)
	values, errValues := codec.New(value, name, false, nil)
	if err := errors.Join(errKeys, errValues); err != nil {
		return nil, err
	}
	var b buffer.Value
	return func(k K) (v V, at int64, ok bool, err error) {
		raw, err := keys.Encode(k)
		if err != nil {
			return v, 0, false, err
		}
		seen, buffered, err := buffer.Prior(name, rows, raw, &b)
		switch {
		case err != nil:
			return v, 0, false, err
		case !buffered:
			return of(k)
		case seen == nil:
			return v, -1, false, nil
		}
		// The buffer does not record when the earlier value was written, so the row has no time.
		v, err = values.Decode(seen)
		return v, -1, true, err
	}, nil
}
