package operator

import (
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/buffer"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// UpdateBuffer has at most one pending update per key between two commits (store.UntilCommit). An
// update runs from the value that was emitted last to the newest one, so what happened in between
// is never emitted.
//
// It copies keys and values. Memory is bounded by MaxBytes. Owned by the task's goroutine.
type UpdateBuffer[K, V any] struct {
	name  string
	key   *codec.Codec[K]
	value *codec.Codec[V]
	get   wire.Getter[K, V]

	// Old has updates carry old values.
	Old bool
	// MaxBytes is the size above which Change reports that the buffer is full.
	MaxBytes int64
	// BeforeEmit is called with the time of each update before it is emitted. May be nil.
	BeforeEmit func(ms int64)

	index       map[string]int32 // positions in updates, by key
	updates     []pendingUpdate
	first, last int32 // a list in the order of each key's last write; -1: none
	size        int64
}

// pendingUpdate is a row that has changed since the last commit.
type pendingUpdate struct {
	key             string
	old             []byte // the value emitted last
	new             []byte // the newest value, where it cannot be read from the store
	existed, exists bool   // the row existed when its value was emitted last; it exists now
	time            int64
	source          topology.Source
	headers         topology.Headers
	prev, next      int32
}

// updateOverhead is the memory of an update beside its bytes.
const updateOverhead = 160

// NewUpdateBuffer returns the buffer of a table.
//
// get reads the table's newest rows. Nil: the buffer copies the newest values, for stores that may
// have dropped a row by the time of the commit. name is the store's; try is as for Open.
func NewUpdateBuffer[K, V any](
	name string, key serde.Serde[K], value serde.Serde[V], get wire.Getter[K, V], try retry.Func,
) (*UpdateBuffer[K, V], error) {
	u := &UpdateBuffer[K, V]{name: name, get: get, index: map[string]int32{}, first: -1, last: -1, MaxBytes: 4 << 20}
	var err error
	u.key, u.value, err = newSerdes(name, key, value, try)
	return u, err
}

// Change adds a change that the store already has. change.HasOld must report whether the row
// existed before, even where old values are not wanted. full reports that Flush is due as soon as
// the current record is done.
func (u *UpdateBuffer[K, V]) Change(change wire.Change[K, V]) (full bool, err error) {
	key, err := u.key.Encode(change.Key)
	if err != nil {
		return false, err
	}
	// The first change of a key since the commit brings the value that was emitted last. Later ones
	// replace the newest value only.
	i, ok := u.index[string(key)]
	if !ok {
		if i, err = u.add(key, change); err != nil {
			return false, err
		}
	} else {
		u.unlink(i)
	}
	update := &u.updates[i]
	if err := u.setNewest(update, change); err != nil {
		return false, err
	}
	// Time, source and headers are those of the last write, and so is the key's place in the order
	// of emission.
	u.size += headerBytes(change.Headers) - headerBytes(update.headers)
	update.time, update.source, update.headers = change.Time.UnixMilli(), change.Source(),
		buffer.CopyHeaders(change.Headers)
	u.link(i)
	return u.size > u.MaxBytes, nil
}

// setNewest stores the newest value, unless the store can be asked for it at the commit.
func (u *UpdateBuffer[K, V]) setNewest(update *pendingUpdate, change wire.Change[K, V]) error {
	if update.exists = !change.Tombstone; u.get != nil || !update.exists {
		return nil
	}
	b, err := u.value.Encode(change.Value)
	if err != nil {
		return err
	}
	before := cap(update.new)
	update.new = append(update.new[:0], b...)
	u.size += int64(cap(update.new) - before)
	return nil
}

// add makes an entry for a key that has none.
func (u *UpdateBuffer[K, V]) add(key []byte, change wire.Change[K, V]) (int32, error) {
	update := pendingUpdate{key: string(key), existed: change.HasOld}
	if u.Old && change.HasOld {
		var err error
		if update.old, err = u.value.EncodeNew(change.Old); err != nil {
			return 0, err
		}
	}
	i := int32(len(u.updates))
	u.updates, u.index[update.key] = append(u.updates, update), i
	u.size += updateOverhead + int64(len(key)+len(update.old))
	return i, nil
}

// headerBytes estimates the memory of headers.
func headerBytes(headers topology.Headers) (n int64) {
	for _, header := range headers {
		n += 40 + int64(len(header.Name)+len(header.Value))
	}
	return n
}

func (u *UpdateBuffer[K, V]) unlink(i int32) {
	prev, next := u.updates[i].prev, u.updates[i].next
	if prev >= 0 {
		u.updates[prev].next = next
	} else {
		u.first = next
	}
	if next >= 0 {
		u.updates[next].prev = prev
	} else {
		u.last = prev
	}
}

func (u *UpdateBuffer[K, V]) link(i int32) {
	u.updates[i].prev, u.updates[i].next = u.last, -1
	if u.last >= 0 {
		u.updates[u.last].next = i
	} else {
		u.first = i
	}
	u.last = i
}

// Flush emits all updates in the order of each key's last write, and empties the buffer.
func (u *UpdateBuffer[K, V]) Flush(out wire.TableOutlet[K, V]) error {
	for i := u.first; i >= 0; i = u.updates[i].next {
		if err := retry.IgnoreSkipped(u.emit(&u.updates[i], out)); err != nil {
			return err
		}
	}
	u.first, u.last, u.size = -1, -1, 0
	clear(u.index)
	clear(u.updates)
	// A burst must not occupy its memory forever: maps and slices never shrink by themselves.
	if u.updates = u.updates[:0]; cap(u.updates) > 1<<16 {
		u.updates, u.index = nil, map[string]int32{}
	}
	return nil
}

func (u *UpdateBuffer[K, V]) emit(update *pendingUpdate, out wire.TableOutlet[K, V]) error {
	k, err := u.key.Decode([]byte(update.key))
	if err != nil {
		return keyError(u.name, update.key, "decode the key", err)
	}
	v, row, err := u.newest(k, update)
	// A row that appeared and was deleted between two commits was never emitted, so nothing is
	// emitted now either.
	if err != nil || !row && !update.existed {
		return err
	}
	var c wire.Change[K, V]
	if c.HasOld = u.Old && update.existed; c.HasOld {
		if c.Old, err = u.value.Decode(update.old); err != nil {
			return keyError(u.name, update.key, "decode the old value", err)
		}
	}
	c.Record = topology.Record[K, V]{
		Key: k, Value: v, Tombstone: !row, Time: time.UnixMilli(update.time), Headers: update.headers,
	}.From(update.source)
	if u.BeforeEmit != nil {
		u.BeforeEmit(update.time)
	}
	return out(c)
}

// newest returns the newest value of a row: from the store, or the copy where the store may have
// dropped it.
func (u *UpdateBuffer[K, V]) newest(k K, update *pendingUpdate) (v V, row bool, err error) {
	switch {
	case u.get != nil:
		v, _, row, err = u.get(k)
	case update.exists:
		row = true
		if v, err = u.value.Decode(update.new); err != nil {
			err = keyError(u.name, update.key, "decode the value", err)
		}
	}
	return v, row, err
}
