package segmented

import (
	"encoding/binary"
	"errors"
	"iter"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/storage"
)

// In stores that keep headers, the rows of the engine have them in front of the value, after their
// length; docs/format/store.md describes the bytes. In the changelog the headers are those of the
// record, and the value is as in other stores.

// headerEngine is the engine of a key-value store that keeps headers. It converts between rows and
// changelog records; segmented stores do so in Store.Cut and Store.Restore.
type headerEngine struct {
	storage.Engine
}

// Cut implements storage.Engine.
func (he *headerEngine) Cut(emit func(storage.Change) error) (uint64, error) {
	return he.Engine.Cut(emitWithHeaders(emit))
}

// Restore implements storage.Engine.
func (he *headerEngine) Restore(changes []storage.Change, c storage.Checkpoint) error {
	prependHeaders(changes)
	return he.Engine.Restore(changes, c)
}

// ChangelogRows does what Store.ChangelogRows does.
func (he *headerEngine) ChangelogRows(key []byte, now int64, emit func(storage.Change) error) error {
	c := storage.Change{Key: key, Time: now}
	v, t, ok, err := he.Engine.Get(key)
	if err != nil {
		return err
	}
	if ok {
		c.Value, c.Time = v, t
	}
	return emitWithHeaders(emit)(c)
}

// emitWithHeaders returns an emit that gets changes as records, with the headers beside the value.
func emitWithHeaders(emit func(storage.Change) error) func(storage.Change) error {
	return func(c storage.Change) (err error) {
		if c.Value != nil {
			if c.Value, c.Headers, err = splitHeadersOf(c.Value); err != nil {
				return err
			}
		}
		return emit(c)
	}
}

// prependHeaders makes rows of changes, with the headers in front of the value.
func prependHeaders(changes []storage.Change) {
	for i := range changes {
		c := &changes[i]
		if c.Value != nil {
			c.Value = append(appendHeaders(make([]byte, 0, len(c.Value)+1), c.Headers), c.Value...)
		}
		c.Headers = nil
	}
}

// headerCodec puts headers in front of values and splits them off. The views of all kinds of stores
// that keep headers embed it.
type headerCodec struct {
	putHeaders  []byte // encoded, for the rows that are put
	readHeaders []byte // encoded, of the row that was read last; decoded only if LastHeaders is called
	buf         []byte
}

// SetHeaders implements storage.HeaderStore.
func (k *headerCodec) SetHeaders(h storage.Headers) {
	k.putHeaders = appendHeaders(k.putHeaders[:0], h)
}

// LastHeaders implements storage.HeaderStore.
func (k *headerCodec) LastHeaders() (storage.Headers, error) { return parseHeaders(k.readHeaders) }

// prepend returns a value as rows have it, in memory that the next call uses again.
func (k *headerCodec) prepend(value []byte) []byte {
	if value == nil {
		return nil
	}
	if len(k.putHeaders) == 0 { // SetHeaders was never called: none, which is a length of 0
		k.putHeaders = append(k.putHeaders, 0)
	}
	k.buf = append(append(k.buf[:0], k.putHeaders...), value...)
	return k.buf
}

// strip returns the value of a row that was read, and remembers its headers.
func (k *headerCodec) strip(b []byte, ok bool, err error) ([]byte, bool, error) {
	if err != nil || !ok {
		return nil, false, err
	}
	raw, value, err := splitHeaders(b)
	k.readHeaders = append(k.readHeaders[:0], raw...)
	return value, err == nil, err
}

// headerBytes implements storage.Bytes and storage.HeaderStore.
type headerBytes struct {
	storage.Bytes
	headerCodec
}

// Get implements storage.Bytes.
func (hb *headerBytes) Get(key []byte) (value []byte, time int64, ok bool, err error) {
	b, time, ok, err := hb.Bytes.Get(key)
	value, ok, err = hb.strip(b, ok, err)
	return value, time, ok, err
}

// Put implements storage.Bytes.
func (hb *headerBytes) Put(key, value []byte, time int64) error {
	return hb.Bytes.Put(key, hb.prepend(value), time)
}

// Scan implements storage.Bytes.
func (hb *headerBytes) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return splitRows(hb.Bytes.Scan(r), splitEntry)
}

// splitRows splits the headers off the rows of a scan.
func splitRows[E any](rows iter.Seq2[E, error], split func(E) (E, error)) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		for e, err := range rows {
			if err == nil {
				e, err = split(e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func splitEntry(e storage.Entry) (_ storage.Entry, err error) {
	e.Value, e.Headers, err = splitHeadersOf(e.Value)
	return e, err
}

func splitWindowEntry(e storage.WindowEntry) (_ storage.WindowEntry, err error) {
	e.Value, e.Headers, err = splitHeadersOf(e.Value)
	return e, err
}

func splitVersion(v storage.Version) (_ storage.Version, err error) {
	v.Value, v.Headers, err = splitHeadersOf(v.Value)
	return v, err
}

// headerWindows implements storage.WindowBytes and storage.HeaderStore.
type headerWindows struct {
	storage.WindowBytes
	headerCodec
}

// Get implements storage.WindowBytes.
func (hw *headerWindows) Get(key []byte, start int64) (value []byte, time int64, ok bool, err error) {
	b, time, ok, err := hw.WindowBytes.Get(key, start)
	value, ok, err = hw.strip(b, ok, err)
	return value, time, ok, err
}

// Put implements storage.WindowBytes.
func (hw *headerWindows) Put(key []byte, start int64, value []byte, time int64) (bool, error) {
	return hw.WindowBytes.Put(key, start, hw.prepend(value), time)
}

// Fetch implements storage.WindowBytes.
func (hw *headerWindows) Fetch(key []byte, from, to int64, backward bool) iter.Seq2[storage.WindowEntry, error] {
	return splitRows(hw.WindowBytes.Fetch(key, from, to, backward), splitWindowEntry)
}

// All implements storage.WindowBytes.
func (hw *headerWindows) All(keys storage.Range, from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return splitRows(hw.WindowBytes.All(keys, from, to), splitWindowEntry)
}

// ByTime implements storage.WindowBytes.
func (hw *headerWindows) ByTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return splitRows(hw.WindowBytes.ByTime(from, to), splitWindowEntry)
}

// headerSessions implements storage.SessionBytes and storage.HeaderStore.
type headerSessions struct {
	storage.SessionBytes
	headerCodec
}

// Get implements storage.SessionBytes.
func (hs *headerSessions) Get(key []byte, start, end int64) ([]byte, bool, error) {
	return hs.strip(hs.SessionBytes.Get(key, start, end))
}

// Put implements storage.SessionBytes.
func (hs *headerSessions) Put(key []byte, start, end int64, value []byte, time int64) (bool, error) {
	return hs.SessionBytes.Put(key, start, end, hs.prepend(value), time)
}

// Find implements storage.SessionBytes.
func (hs *headerSessions) Find(
	key []byte, endFrom, startTo int64, backward bool,
) iter.Seq2[storage.WindowEntry, error] {
	return splitRows(hs.SessionBytes.Find(key, endFrom, startTo, backward), splitWindowEntry)
}

// All implements storage.SessionBytes.
func (hs *headerSessions) All(keys storage.Range, endFrom, startTo int64) iter.Seq2[storage.WindowEntry, error] {
	return splitRows(hs.SessionBytes.All(keys, endFrom, startTo), splitWindowEntry)
}

// ByTime implements storage.SessionBytes.
func (hs *headerSessions) ByTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return splitRows(hs.SessionBytes.ByTime(from, to), splitWindowEntry)
}

// headerVersions implements storage.VersionedBytes and storage.HeaderStore.
type headerVersions struct {
	storage.VersionedBytes
	headerCodec
}

// Get implements storage.VersionedBytes.
func (hv *headerVersions) Get(key []byte) (storage.Version, bool, error) {
	return hv.version(hv.VersionedBytes.Get(key))
}

// AsOf implements storage.VersionedBytes.
func (hv *headerVersions) AsOf(key []byte, time int64) (storage.Version, bool, error) {
	return hv.version(hv.VersionedBytes.AsOf(key, time))
}

func (hv *headerVersions) version(v storage.Version, ok bool, err error) (storage.Version, bool, error) {
	if v.Value, ok, err = hv.strip(v.Value, ok, err); ok {
		v.Headers, err = hv.LastHeaders()
	}
	return v, ok, err
}

// Put implements storage.VersionedBytes.
func (hv *headerVersions) Put(key, value []byte, time int64) (int64, bool, error) {
	return hv.VersionedBytes.Put(key, hv.prepend(value), time)
}

// History implements storage.VersionedBytes.
func (hv *headerVersions) History(key []byte, from, to int64, backward bool) iter.Seq2[storage.Version, error] {
	return splitRows(hv.VersionedBytes.History(key, from, to, backward), splitVersion)
}

// Latest implements storage.VersionedBytes.
func (hv *headerVersions) Latest() iter.Seq2[storage.Entry, error] {
	return splitRows(hv.VersionedBytes.Latest(), splitEntry)
}

// withHeaders returns the views of a store that keeps headers.
func withHeaders(h storage.Handle) storage.Handle {
	switch {
	case h.Bytes != nil:
		h.Bytes = &headerBytes{Bytes: h.Bytes}
	case h.Windows != nil:
		h.Windows = &headerWindows{WindowBytes: h.Windows}
	case h.Sessions != nil:
		h.Sessions = &headerSessions{SessionBytes: h.Sessions}
	case h.Versions != nil:
		h.Versions = &headerVersions{VersionedBytes: h.Versions}
	}
	return h
}

// splitHeadersOf splits a row's bytes into the value and the decoded headers.
func splitHeadersOf(b []byte) (value []byte, h storage.Headers, err error) {
	raw, value, err := splitHeaders(b)
	if err == nil {
		h, err = parseHeaders(raw)
	}
	return value, h, err
}

var errHeaders = codec.Undecodable("", errors.New("store: the headers of a row cannot be read"))

// appendHeaders appends headers as rows have them: the length of all, and for each header the
// length of its name, its name, the length of its value plus one (0: the value is null), and its
// value. Lengths are unsigned varints.
func appendHeaders(b []byte, headers storage.Headers) []byte {
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
	length := 1
	for ; n >= 0x80; n >>= 7 {
		length++
	}
	return length
}

// splitHeaders returns the encoded headers of a row, and its value.
func splitHeaders(b []byte) (raw, value []byte, err error) {
	raw, value, ok := splitSized(b)
	if !ok {
		return nil, nil, errHeaders
	}
	return raw, value, nil
}

// splitSized splits b after a length and as many bytes as it says.
func splitSized(b []byte) (head, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, false
	}
	end := w + int(n)
	return b[w:end:end], b[end:len(b):len(b)], true
}

// parseHeaders decodes headers into a copy of raw. It returns nil when there are none.
func parseHeaders(raw []byte) (out storage.Headers, err error) {
	raw = append([]byte(nil), raw...)
	for len(raw) > 0 {
		name, rest, ok := splitSized(raw)
		if !ok {
			return nil, errHeaders
		}
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > uint64(len(rest)-w)+1 {
			return nil, errHeaders
		}
		h := storage.Header{Name: string(name)}
		raw = rest[w:]
		if n > 0 {
			h.Value, raw = raw[:n-1:n-1], raw[n-1:]
		}
		out = append(out, h)
	}
	return out, nil
}
