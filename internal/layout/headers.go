package layout

import (
	"encoding/binary"
	"errors"
	"iter"

	"github.com/millstream-go/millstream/store"
)

// Rows that keep headers have them in front of the value, behind their length; docs/format/store.md has the bytes. The changelog has
// the value plain and the headers on its records.

// headed is an engine of a key-value store that keeps headers, between rows and changelog.
type headed struct {
	store.Engine
}

// Cut implements store.Engine.
func (x *headed) Cut(emit func(store.Change) error) (uint64, error) {
	return x.Engine.Cut(emitHeaded(emit))
}

// Restore implements store.Engine.
func (x *headed) Restore(changes []store.Change, c store.Checkpoint) error {
	joinHeaders(changes)
	return x.Engine.Restore(changes, c)
}

// Logged is Log.Logged.
func (x *headed) Logged(key []byte, now int64, emit func(store.Change) error) error {
	c := store.Change{Key: key, Time: now}
	v, t, ok, err := x.Engine.Get(key)
	if err != nil {
		return err
	}
	if ok {
		c.Value, c.Time = v, t
	}
	return emitHeaded(emit)(c)
}

// emitHeaded takes the headers of changes off their values.
func emitHeaded(emit func(store.Change) error) func(store.Change) error {
	return func(c store.Change) (err error) {
		if c.Value != nil {
			if c.Value, c.Headers, err = part(c.Value); err != nil {
				return err
			}
		}
		return emit(c)
	}
}

// joinHeaders puts the headers of changes in front of their values.
func joinHeaders(changes []store.Change) {
	for i := range changes {
		c := &changes[i]
		if c.Value != nil {
			c.Value = append(appendHeaders(make([]byte, 0, len(c.Value)+1), c.Headers), c.Value...)
		}
		c.Headers = nil
	}
}

// keeping puts headers in front of values and takes them off: what the views of all kinds of stores share.
type keeping struct {
	next []byte // headers of rows that are put
	last []byte // of the row that was read last
	buf  []byte
}

// Keep implements store.HeaderKeeper.
func (k *keeping) Keep(h store.Headers) { k.next = appendHeaders(k.next[:0], h) }

// Kept implements store.HeaderKeeper.
func (k *keeping) Kept() (store.Headers, error) { return parseHeaders(k.last) }

// join returns a value as rows have it.
func (k *keeping) join(value []byte) []byte {
	if value == nil {
		return nil
	}
	if len(k.next) == 0 {
		k.next = append(k.next, 0)
	}
	k.buf = append(append(k.buf[:0], k.next...), value...)
	return k.buf
}

// take returns the value of a row that was read.
func (k *keeping) take(b []byte, ok bool, err error) ([]byte, bool, error) {
	if err != nil || !ok {
		return nil, false, err
	}
	raw, value, err := splitHeaders(b)
	k.last = append(k.last[:0], raw...)
	return value, err == nil, err
}

// headedBytes implements store.Bytes and store.HeaderKeeper.
type headedBytes struct {
	store.Bytes
	keeping
}

// Get implements store.Bytes.
func (x *headedBytes) Get(key []byte) (value []byte, time int64, ok bool, err error) {
	b, time, ok, err := x.Bytes.Get(key)
	value, ok, err = x.take(b, ok, err)
	return value, time, ok, err
}

// Put implements store.Bytes.
func (x *headedBytes) Put(key, value []byte, time int64) error {
	return x.Bytes.Put(key, x.join(value), time)
}

// Scan implements store.Bytes.
func (x *headedBytes) Scan(r store.Range) iter.Seq2[store.Entry, error] {
	return entries(x.Bytes.Scan(r))
}

func entries(rows iter.Seq2[store.Entry, error]) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range rows {
			if err == nil {
				e.Value, e.Headers, err = part(e.Value)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func windowEntries(rows iter.Seq2[store.WindowEntry, error]) iter.Seq2[store.WindowEntry, error] {
	return func(yield func(store.WindowEntry, error) bool) {
		for e, err := range rows {
			if err == nil {
				e.Value, e.Headers, err = part(e.Value)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// headedWindows implements store.WindowBytes and store.HeaderKeeper.
type headedWindows struct {
	store.WindowBytes
	keeping
}

// Get implements store.WindowBytes.
func (x *headedWindows) Get(key []byte, start int64) (value []byte, time int64, ok bool, err error) {
	b, time, ok, err := x.WindowBytes.Get(key, start)
	value, ok, err = x.take(b, ok, err)
	return value, time, ok, err
}

// Put implements store.WindowBytes.
func (x *headedWindows) Put(key []byte, start int64, value []byte, time int64) (bool, error) {
	return x.WindowBytes.Put(key, start, x.join(value), time)
}

// Fetch implements store.WindowBytes.
func (x *headedWindows) Fetch(key []byte, from, to int64, backward bool) iter.Seq2[store.WindowEntry, error] {
	return windowEntries(x.WindowBytes.Fetch(key, from, to, backward))
}

// All implements store.WindowBytes.
func (x *headedWindows) All(from, to int64) iter.Seq2[store.WindowEntry, error] {
	return windowEntries(x.WindowBytes.All(from, to))
}

// ByTime implements store.WindowBytes.
func (x *headedWindows) ByTime(from, to int64) iter.Seq2[store.WindowEntry, error] {
	return windowEntries(x.WindowBytes.ByTime(from, to))
}

// headedSessions implements store.SessionBytes and store.HeaderKeeper.
type headedSessions struct {
	store.SessionBytes
	keeping
}

// Get implements store.SessionBytes.
func (x *headedSessions) Get(key []byte, start, end int64) ([]byte, bool, error) {
	return x.take(x.SessionBytes.Get(key, start, end))
}

// Put implements store.SessionBytes.
func (x *headedSessions) Put(key []byte, start, end int64, value []byte, time int64) (bool, error) {
	return x.SessionBytes.Put(key, start, end, x.join(value), time)
}

// Find implements store.SessionBytes.
func (x *headedSessions) Find(key []byte, endFrom, startTo int64, backward bool) iter.Seq2[store.WindowEntry, error] {
	return windowEntries(x.SessionBytes.Find(key, endFrom, startTo, backward))
}

// All implements store.SessionBytes.
func (x *headedSessions) All(endFrom, startTo int64) iter.Seq2[store.WindowEntry, error] {
	return windowEntries(x.SessionBytes.All(endFrom, startTo))
}

// ByTime implements store.SessionBytes.
func (x *headedSessions) ByTime(from, to int64) iter.Seq2[store.WindowEntry, error] {
	return windowEntries(x.SessionBytes.ByTime(from, to))
}

// headedVersions implements store.VersionedBytes and store.HeaderKeeper.
type headedVersions struct {
	store.VersionedBytes
	keeping
}

// Get implements store.VersionedBytes.
func (x *headedVersions) Get(key []byte) (store.Version, bool, error) {
	return x.version(x.VersionedBytes.Get(key))
}

// AsOf implements store.VersionedBytes.
func (x *headedVersions) AsOf(key []byte, time int64) (store.Version, bool, error) {
	return x.version(x.VersionedBytes.AsOf(key, time))
}

func (x *headedVersions) version(v store.Version, ok bool, err error) (store.Version, bool, error) {
	if v.Value, ok, err = x.take(v.Value, ok, err); ok {
		v.Headers, err = x.Kept()
	}
	return v, ok, err
}

// Put implements store.VersionedBytes.
func (x *headedVersions) Put(key, value []byte, time int64) (int64, bool, error) {
	return x.VersionedBytes.Put(key, x.join(value), time)
}

// History implements store.VersionedBytes.
func (x *headedVersions) History(key []byte, from, to int64, backward bool) iter.Seq2[store.Version, error] {
	return func(yield func(store.Version, error) bool) {
		for v, err := range x.VersionedBytes.History(key, from, to, backward) {
			if err == nil {
				v.Value, v.Headers, err = part(v.Value)
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// Latest implements store.VersionedBytes.
func (x *headedVersions) Latest() iter.Seq2[store.Entry, error] {
	return entries(x.VersionedBytes.Latest())
}

// withHeaders returns the views of a store that keeps headers.
func withHeaders(h store.Handle) store.Handle {
	switch {
	case h.Bytes != nil:
		h.Bytes = &headedBytes{Bytes: h.Bytes}
	case h.Windows != nil:
		h.Windows = &headedWindows{WindowBytes: h.Windows}
	case h.Sessions != nil:
		h.Sessions = &headedSessions{SessionBytes: h.Sessions}
	case h.Versions != nil:
		h.Versions = &headedVersions{VersionedBytes: h.Versions}
	}
	return h
}

// part takes a row's bytes apart.
func part(b []byte) (value []byte, h store.Headers, err error) {
	raw, value, err := splitHeaders(b)
	if err == nil {
		h, err = parseHeaders(raw)
	}
	return value, h, err
}

var errHeaders = errors.New("store: a row that keeps headers has none that can be read")

// appendHeaders appends headers as rows have them: their length, then for each its name's length, its name, its value's length and one
// more, 0 where it is null, and its value. Lengths are unsigned varints.
func appendHeaders(b []byte, headers store.Headers) []byte {
	n := 0
	for _, h := range headers {
		n += uvarintLen(len(h.Name)) + len(h.Name) + uvarintLen(len(h.Value)+1) + len(h.Value)
	}
	b = binary.AppendUvarint(b, uint64(n))
	for _, h := range headers {
		b = append(binary.AppendUvarint(b, uint64(len(h.Name))), h.Name...)
		if h.Value == nil {
			b = append(b, 0)
			continue
		}
		b = append(binary.AppendUvarint(b, uint64(len(h.Value))+1), h.Value...)
	}
	return b
}

func uvarintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}

// splitHeaders returns the headers of a row, still encoded, and its value.
func splitHeaders(b []byte) (raw, value []byte, err error) {
	raw, value, ok := cut(b)
	if !ok {
		return nil, nil, errHeaders
	}
	return raw, value, nil
}

// cut takes a length and as many bytes from b.
func cut(b []byte) (head, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	end := w + int(n)
	return b[w:end:end], b[end:len(b):len(b)], true
}

// parseHeaders decodes headers, into memory of their own; nil when there are none.
func parseHeaders(raw []byte) (out store.Headers, err error) {
	raw = append([]byte(nil), raw...)
	for len(raw) > 0 {
		name, rest, ok := cut(raw)
		if !ok {
			return nil, errHeaders
		}
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > uint64(len(rest)-w)+1 {
			return nil, errHeaders
		}
		h := store.Header{Name: string(name)}
		raw = rest[w:]
		if n > 0 {
			h.Value, raw = raw[:n-1:n-1], raw[n-1:]
		}
		out = append(out, h)
	}
	return out, nil
}
