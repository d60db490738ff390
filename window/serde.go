package window

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/windowspec"
	"github.com/millstream-go/millstream/serde"
)

// TimeKey returns the serde of windowed keys in Kafka Streams' format for time windows: the key, then the window's start in eight bytes.
// The end is not written: it follows from w, whose size must be that of the windows that were written. Grace and OnClose do not matter.
//
//	perHour := stream.NewTopic("clicks-per-hour", window.TimeKey(serde.String, window.Tumbling(time.Hour)), serde.Int64)
//
// Tables need no such serde for their stores; a topic that is written or read does. Records are spread over a topic's partitions by
// the key without its window, as Kafka Streams does, unless the topic has a Partitioner.
func TimeKey[K any](key serde.Serde[K], w Fixed) serde.Serde[Key[K]] {
	if key == nil || w == nil {
		return nil // so that Build can report it
	}
	s := keySerde[K]{inner: key, size: w.Plan().Size.Milliseconds()}
	if w.Plan().Kind == windowspec.Unlimited {
		s.size = math.MaxInt64
	}
	return s.bound()
}

// SessionKey returns the serde of windowed keys in Kafka Streams' format for sessions: the key, then the session's end and its start in
// eight bytes each. It is TimeKey otherwise.
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

// boundKey is the serde of windowed keys whose inner serde is another one for each topic.
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

func (s keySerde[K]) Append(dst []byte, k Key[K]) ([]byte, error) {
	dst, err := s.inner.Append(dst, k.Key)
	if err != nil {
		return dst, err
	}
	if s.session {
		dst = binary.BigEndian.AppendUint64(dst, uint64(k.End.UnixMilli()))
	}
	return binary.BigEndian.AppendUint64(dst, uint64(k.Start.UnixMilli())), nil
}

func (s keySerde[K]) Decode(b []byte) (k Key[K], err error) {
	n := len(b) - s.suffix()
	if n < 0 {
		return k, fmt.Errorf("windowed key of %d bytes; its window alone takes %d", len(b), s.suffix())
	}
	start := int64(binary.BigEndian.Uint64(b[len(b)-8:]))
	end := start + s.size
	switch {
	case s.session:
		end = int64(binary.BigEndian.Uint64(b[n:]))
	case end < start: // of an unlimited window
		end = math.MaxInt64
	}
	if k.Key, err = s.inner.Decode(b[:n:n]); err != nil {
		return k, err
	}
	k.Start, k.End = time.UnixMilli(start), time.UnixMilli(end)
	return k, nil
}

func (s keySerde[K]) suffix() int {
	if s.session {
		return 16
	}
	return 8
}

// Inner returns the serde of the keys without their windows. For the packages of this module.
func (s keySerde[K]) Inner() serde.Serde[K] { return s.inner }

// Base returns the bytes of a key without its window, by which records are spread over partitions. For the packages of this module.
func (s keySerde[K]) Base(b []byte) []byte { return b[:max(0, len(b)-s.suffix())] }
