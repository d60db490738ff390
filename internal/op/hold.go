package op

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/buffer"
	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Hold holds the changes of a stored table back until the commit: of each key one remains, from the value that was sent last to the newest. What
// it keeps is bytes of its own. Owned by the task's goroutine.
type Hold[K, V any] struct {
	name  string
	key   *rowserde.Side[K]
	value *rowserde.Side[V]
	get   wire.Getter[K, V]

	// Old says that changes carry old values.
	Old bool
	// Most is how many bytes are held back at most.
	Most int64
	// At is told the time of each record before it is sent. May be nil.
	At func(ms int64)

	at          map[string]int32 // places of keys
	all         []heldRow
	first, last int32 // in the order in which keys were written last; -1: none
	size        int64
}

// heldRow is a row that has changed since the last commit.
type heldRow struct {
	key        string
	old        []byte // what was sent last
	new        []byte // the newest value, where it cannot be read from the store
	had, row   bool   // there was such a row; there is one now
	time       int64
	source     topology.Source
	headers    topology.Headers
	prev, next int32
}

// heldBytes is what a row takes beside its bytes.
const heldBytes = 160

// OpenHold returns a Hold for a table whose newest rows are read with get; nil: they are kept, as the store may have dropped them by the time of
// the commit. name is the store's.
func OpenHold[K, V any](name string, key serde.Serde[K], value serde.Serde[V], get wire.Getter[K, V]) (*Hold[K, V], error) {
	h := &Hold[K, V]{name: name, get: get, at: map[string]int32{}, first: -1, last: -1, Most: 4 << 20}
	var err error
	if h.key, err = rowserde.New(key, name, true); err != nil {
		return nil, fmt.Errorf("store %q: keys: %w", name, err)
	}
	if h.value, err = rowserde.New(value, name, false); err != nil {
		return nil, fmt.Errorf("store %q: values: %w", name, err)
	}
	return h, nil
}

// Change holds c back, which the store has already. c.HasOld says that there was such a row before, whether old values are wanted or not.
// full says that it is time to Flush, once the record at hand is done.
func (h *Hold[K, V]) Change(c wire.Change[K, V]) (full bool, err error) {
	key, err := h.key.Encode(c.Key)
	if err != nil {
		return false, &RecordError{fmt.Errorf("store %q: encode the key: %w", h.name, err)}
	}
	i, ok := h.at[string(key)]
	if !ok {
		if i, err = h.add(key, c); err != nil {
			return false, err
		}
	} else {
		h.unlink(i)
	}
	x := &h.all[i]
	if err := h.renew(x, c); err != nil {
		return false, err
	}
	h.size += headerBytes(c.Headers) - headerBytes(x.headers)
	x.time, x.source, x.headers = c.Time.UnixMilli(), c.Source(), buffer.CopyHeaders(c.Headers)
	h.link(i)
	return h.size > h.Most, nil
}

// renew keeps the newest value.
func (h *Hold[K, V]) renew(x *heldRow, c wire.Change[K, V]) error {
	if x.row = !c.Tombstone; h.get != nil || !x.row {
		return nil
	}
	b, err := h.value.Encode(c.Value)
	if err != nil {
		return fmt.Errorf("store %q, key %q: encode the value: %w", h.name, x.key, err) // the store has it: not the record's fault
	}
	before := cap(x.new)
	x.new = append(x.new[:0], b...)
	h.size += int64(cap(x.new) - before)
	return nil
}

// add makes a place for a key that was not there.
func (h *Hold[K, V]) add(key []byte, c wire.Change[K, V]) (int32, error) {
	x := heldRow{key: string(key), had: c.HasOld}
	if h.Old && c.HasOld {
		var err error
		if x.old, err = h.value.Fresh(c.Old); err != nil {
			return 0, &RecordError{fmt.Errorf("store %q, key %q: encode the old value: %w", h.name, key, err)}
		}
	}
	i := int32(len(h.all))
	h.all, h.at[x.key] = append(h.all, x), i
	h.size += heldBytes + int64(len(key)+len(x.old))
	return i, nil
}

func headerBytes(headers topology.Headers) (n int64) {
	for _, x := range headers {
		n += 40 + int64(len(x.Name)+len(x.Value))
	}
	return n
}

func (h *Hold[K, V]) unlink(i int32) {
	prev, next := h.all[i].prev, h.all[i].next
	if prev >= 0 {
		h.all[prev].next = next
	} else {
		h.first = next
	}
	if next >= 0 {
		h.all[next].prev = prev
	} else {
		h.last = prev
	}
}

func (h *Hold[K, V]) link(i int32) {
	h.all[i].prev, h.all[i].next = h.last, -1
	if h.last >= 0 {
		h.all[h.last].next = i
	} else {
		h.first = i
	}
	h.last = i
}

// Flush sends what is held back.
func (h *Hold[K, V]) Flush(out wire.TableOutlet[K, V]) error {
	for i := h.first; i >= 0; i = h.all[i].next {
		if err := h.send(&h.all[i], out); err != nil {
			return err
		}
	}
	h.first, h.last, h.size = -1, -1, 0
	clear(h.at)
	clear(h.all)
	if h.all = h.all[:0]; cap(h.all) > 1<<16 { // more than usual
		h.all, h.at = nil, map[string]int32{}
	}
	return nil
}

func (h *Hold[K, V]) send(x *heldRow, out wire.TableOutlet[K, V]) error {
	k, err := h.key.Decode([]byte(x.key))
	if err != nil {
		return fmt.Errorf("store %q, key %q: decode the key: %w", h.name, x.key, err)
	}
	v, row, err := h.newest(k, x)
	if err != nil || !row && !x.had { // it came and went
		return err
	}
	var c wire.Change[K, V]
	if c.HasOld = h.Old && x.had; c.HasOld {
		if c.Old, err = h.value.Decode(x.old); err != nil {
			return fmt.Errorf("store %q, key %q: decode the old value: %w", h.name, x.key, err)
		}
	}
	c.Record = topology.Record[K, V]{Key: k, Value: v, Tombstone: !row, Time: time.UnixMilli(x.time), Headers: x.headers}.From(x.source)
	if h.At != nil {
		h.At(x.time)
	}
	return out(c)
}

func (h *Hold[K, V]) newest(k K, x *heldRow) (v V, row bool, err error) {
	switch {
	case h.get != nil:
		v, _, row, err = h.get(k)
	case x.row:
		row = true
		if v, err = h.value.Decode(x.new); err != nil {
			err = fmt.Errorf("store %q, key %q: decode the value: %w", h.name, x.key, err)
		}
	}
	return v, row, err
}
