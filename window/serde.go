package window

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
)

// TimeKey returns the serde of windowed keys in Kafka Streams' format for time windows: the key,
// followed by the window's start in eight bytes. The end is not written. It is computed from the
// size of w, which must be that of the windows that were written. Grace and OnClose do not matter.
//
//	perHour := stream.NewTopic("clicks-per-hour", window.TimeKey(serde.String, window.Tumbling(time.Hour)), serde.Int64)
//
// Topics with windowed keys need this serde; stores of tables do not. Records are partitioned by
// the key without its window, as in Kafka Streams, unless the topic has a Partitioner.
func TimeKey[K any](key serde.Serde[K], w Fixed) serde.Serde[Key[K]] {
	if key == nil || w == nil {
		return nil // so that Build can report it
	}
	s := keySerde[K]{inner: key, size: w.windows().Size.Milliseconds()}
	if w.windows().Kind == spec.UnlimitedWindow {
		s.size = math.MaxInt64
	}
	return s.bound()
}

// SessionKey returns the serde of windowed keys in Kafka Streams' format for sessions: the key,
// followed by the session's end and its start in eight bytes each. Everything else is as in
// TimeKey.
func SessionKey[K any](key serde.Serde[K]) serde.Serde[Key[K]] {
	if key == nil {
		return nil
	}
	return keySerde[K]{inner: key, session: true}.bound()
}

type keySerde[K any] struct {
	inner   serde.Serde[K]
	size    int64 // milliseconds from start to end
	session bool
}

func (s keySerde[K]) bound() serde.Serde[Key[K]] {
	if b, ok := s.inner.(serde.Bound[K]); ok {
		return boundKey[K]{s, b}
	}
	return s
}

// boundKey is the serde of windowed keys whose inner serde is bound to each topic.
type boundKey[K any] struct {
	keySerde[K]
	bound serde.Bound[K]
}

func (s boundKey[K]) Bind(topic string, isKey bool) (serde.Serde[Key[K]], error) {
	inner, err := s.bound.Bind(topic, isKey)
	if err != nil {
		return nil, err
	}
	s.inner = inner
	return s.keySerde, nil
}

func (s keySerde[K]) Append(dst []byte, key Key[K]) ([]byte, error) {
	dst, err := s.inner.Append(dst, key.Key)
	if err != nil {
		return dst, err
	}
	if s.session {
		dst = binary.BigEndian.AppendUint64(dst, uint64(key.End.UnixMilli()))
	}
	return binary.BigEndian.AppendUint64(dst, uint64(key.Start.UnixMilli())), nil
}

func (s keySerde[K]) Decode(encoded []byte) (key Key[K], err error) {
	keyLen := len(encoded) - s.suffix()
	if keyLen < 0 {
		return key, fmt.Errorf("windowed key of %d bytes; its window alone takes %d", len(encoded), s.suffix())
	}
	start := int64(binary.BigEndian.Uint64(encoded[len(encoded)-8:]))
	end := start + s.size
	switch {
	case s.session:
		end = int64(binary.BigEndian.Uint64(encoded[keyLen:]))
	case end < start: // of an unlimited window
		end = math.MaxInt64
	}
	if key.Key, err = s.inner.Decode(encoded[:keyLen:keyLen]); err != nil {
		return key, err
	}
	key.Start, key.End = time.UnixMilli(start), time.UnixMilli(end)
	return key, nil
}

func (s keySerde[K]) suffix() int {
	if s.session {
		return 16
	}
	return 8
}

// FormatName implements serde.Named, where the inner serde does. The size of windows is not in the
// bytes, but it is in what they say.
func (s keySerde[K]) FormatName() string {
	inner, ok := s.inner.(serde.Named)
	switch {
	case !ok || inner.FormatName() == "":
		return ""
	case s.session:
		return "session(" + inner.FormatName() + ")"
	}
	return fmt.Sprintf("window(%s,%dms)", inner.FormatName(), s.size)
}

// Inner returns the serde of the keys without their windows.
func (s keySerde[K]) Inner() serde.Serde[K] { return s.inner }

// Base returns the bytes of a key without its window, by which records are spread over partitions.
func (s keySerde[K]) Base(b []byte) []byte { return b[:max(0, len(b)-s.suffix())] }
