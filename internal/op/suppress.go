package op

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/buffer"
	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// Suppress holds the changes of a table back: of each key the newest one, until it is due or the buffer is full.
type Suppress[K, V any] struct {
	name     string
	key      *rowserde.Side[K]
	now, old *rowserde.Side[V]
	buffer   *buffer.Keyed

	// Wait is how long after its own time an entry is due, in milliseconds of stream time.
	Wait int64
	// At returns the time of an entry that comes in with a change of k at the given time; nil: that time.
	At func(k K, at int64) int64
	// Final has deletions dropped when they are due.
	Final bool
	// MaxRecords and MaxBytes bound the buffer; 0: no bound. Stop has it fail when it is over them, instead of sending early.
	MaxRecords, MaxBytes int64
	Stop                 bool
	// Old says that changes carry old values: what was sent last.
	Old bool
	// Unsent has old values be those before the newest change, even if they were never sent.
	Unsent bool
	// Net has rows that came and went not be sent.
	Net bool
}

// ErrFull is why a task ends whose buffer is full and may not send early.
var ErrFull = errors.New("the buffer is full")

// OpenSuppress opens the buffer that a store holds.
func OpenSuppress[K, V any](name string, rows store.Bytes, key serde.Serde[K], value serde.Serde[V]) (*Suppress[K, V], error) {
	s := &Suppress[K, V]{name: name}
	var errs [4]error
	s.key, errs[0] = rowserde.New(key, name, true)
	s.now, errs[1] = rowserde.New(value, name, false)
	s.old, errs[2] = rowserde.New(value, name, false)
	s.buffer, errs[3] = buffer.OpenKeyed(name, rows)
	return s, errors.Join(errs[:]...)
}

// Change takes a change at a stream time, which includes the change's own, and sends what is due then.
func (s *Suppress[K, V]) Change(c wire.Change[K, V], stream int64, out wire.TableOutlet[K, V]) error {
	if err := s.put(c); err != nil {
		return err
	}
	limit := stream - s.Wait
	for due, ok := s.buffer.First(); ok && due <= limit; due, ok = s.buffer.First() {
		if err := s.send(out); err != nil {
			return err
		}
	}
	for s.full() {
		if s.Stop {
			return fmt.Errorf("%w: it holds %s and %s, and may not send early",
				ErrFull, of(int64(s.buffer.Len()), s.MaxRecords, "records"), of(s.buffer.Size(), s.MaxBytes, "bytes"))
		}
		if err := s.send(out); err != nil {
			return err
		}
	}
	return nil
}

// Keep takes a change, and sends nothing.
func (s *Suppress[K, V]) Keep(c wire.Change[K, V]) error { return s.put(c) }

// Flush sends everything.
func (s *Suppress[K, V]) Flush(out wire.TableOutlet[K, V]) error {
	for s.buffer.Len() > 0 {
		if err := s.send(out); err != nil {
			return err
		}
	}
	return nil
}

func of(n, most int64, what string) string {
	if most == 0 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d of %d %s", n, most, what)
}

func (s *Suppress[K, V]) full() bool {
	return s.MaxRecords > 0 && int64(s.buffer.Len()) > s.MaxRecords || s.MaxBytes > 0 && s.buffer.Size() > s.MaxBytes && s.buffer.Len() > 0
}

func (s *Suppress[K, V]) put(c wire.Change[K, V]) error {
	key, err := s.key.Encode(c.Key)
	if err != nil {
		return s.record("encode the key", err)
	}
	at := c.Time.UnixMilli()
	v := buffer.Value{Time: at, Source: c.Source(), Headers: c.Headers}
	if !c.Tombstone {
		if v.New, err = s.now.Encode(c.Value); err != nil {
			return s.record("encode the value", err)
		}
	}
	if c.HasOld {
		if v.Old, err = s.old.Encode(c.Old); err != nil {
			return s.record("encode the old value", err)
		}
	}
	if s.At != nil {
		at = s.At(c.Key, at)
	}
	if err = s.buffer.Put(key, at, v); err == nil {
		return nil
	}
	if p := (*buffer.PutError)(nil); errors.As(err, &p) {
		return &RecordError{p.Err}
	}
	return err
}

func (s *Suppress[K, V]) record(what string, err error) error {
	return &RecordError{fmt.Errorf("store %q: %s: %w", s.name, what, err)}
}

// send sends the first entry, with the time and the headers of the record that changed it last.
func (s *Suppress[K, V]) send(out wire.TableOutlet[K, V]) error {
	key, v, err := s.buffer.Head()
	if err != nil {
		return err
	}
	if !s.Unsent {
		v.Old = v.Prior
	}
	if gone := v.New == nil; !gone || !s.Final && !(s.Net && v.Prior == nil) {
		c, err := s.change(key, v)
		if err != nil {
			return err
		}
		if err := out(c); err != nil {
			return err
		}
	}
	return s.buffer.Remove()
}

func (s *Suppress[K, V]) change(key []byte, v *buffer.Value) (c wire.Change[K, V], err error) {
	k, err := s.key.Decode(key)
	if err != nil {
		return c, fmt.Errorf("store %q, key %q: decode the key: %w", s.name, key, err)
	}
	r := topology.Record[K, V]{Key: k, Tombstone: v.New == nil, Time: time.UnixMilli(v.Time), Headers: buffer.CopyHeaders(v.Headers)}
	if v.New != nil {
		r.Value, err = s.now.Decode(v.New)
	}
	if s.Old && v.Old != nil && err == nil {
		c.HasOld = true
		c.Old, err = s.old.Decode(v.Old)
	}
	c.Record = r.From(v.Source)
	if err != nil {
		return c, fmt.Errorf("store %q, key %q: decode the value: %w", s.name, key, err)
	}
	return c, nil
}

// Seen returns how rows are read as the steps after a Suppress have seen them: of keys that are in the buffer the value before, and
// those of the table before it otherwise. rows is the buffer's store.
func Seen[K, V any](name string, rows store.Bytes, key serde.Serde[K], value serde.Serde[V], of wire.Getter[K, V]) (wire.Getter[K, V], error) {
	keys, errKeys := rowserde.New(key, name, true)
	values, errValues := rowserde.New(value, name, false)
	if err := errors.Join(errKeys, errValues); err != nil {
		return nil, err
	}
	var b buffer.Value
	return func(k K) (v V, at int64, ok bool, err error) {
		raw, err := keys.Encode(k)
		if err != nil {
			return v, 0, false, &RecordError{fmt.Errorf("store %q: encode the key: %w", name, err)}
		}
		seen, held, err := buffer.Prior(name, rows, raw, &b)
		switch {
		case err != nil:
			return v, 0, false, err
		case !held:
			return of(k)
		case seen == nil:
			return v, -1, false, nil
		}
		v, err = values.Decode(seen)
		return v, -1, true, err // when that row was written is not kept
	}, nil
}
