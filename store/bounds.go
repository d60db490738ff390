package store

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/storage"
)

// ErrRangeReversed is the error of a range whose lower bound comes after its upper bound in the
// order of the encoded keys, so that no key can be between them. With keys of serde.Int16, Int32,
// Int64, Float32, Float64 and Time, a range from a negative to a positive bound is one: negative
// values come after all others, and those of Float32 and Float64 in descending order. Numbers in
// JSON and text have the order of their characters. The error says how to read such rows.
var ErrRangeReversed = errors.New("the range ends before it begins")

// keyRange returns the range of encoded keys within bounds.
func keyRange[K any](keys *codec.Codec[K], bounds []Bound[K], backward bool) (storage.Range, error) {
	r := storage.Range{Backward: backward}
	for _, b := range bounds {
		// To new memory: other calls use the codec's buffer during the scan.
		k, err := keys.EncodeNew(b.key)
		switch {
		case err != nil:
			return r, fmt.Errorf("encode a bound: %w", err)
		case b.end == lower && r.From == nil:
			r.From, r.FromAfter = k, b.excluded
		case b.end == upper && r.To == nil:
			r.To, r.ToBefore = k, b.excluded
		case b.end == noEnd:
			return r, errors.New("scan: a bound is zero; make it with From, Above, To or Below")
		default:
			return r, errors.New("scan: the range has two bounds at one end")
		}
	}
	if r.From != nil && r.To != nil && bytes.Compare(r.From, r.To) > 0 {
		return r, fmt.Errorf("scan: %w: rows are in the order of the bytes of their encoded keys, and there the lower "+
			"bound, %s, comes after the upper bound, %s. %s", ErrRangeReversed, hex(r.From), hex(r.To),
			reversedRangeHint[K](len(r.From) == len(r.To)))
	}
	return r, nil
}

// reversedRangeHint returns the advice for a range of Ks with reversed bounds. Encodings of
// different lengths are not binary numbers.
func reversedRangeHint[K any](oneLength bool) string {
	k := reflect.TypeFor[K]()
	switch {
	case !oneLength:
	case k.Kind() >= reflect.Int && k.Kind() <= reflect.Int64, k == reflect.TypeFor[time.Time]():
		return "Negative numbers and times before 1970 come after all others: read them in a range of their own, " +
			"From the lower bound To the greatest negative value, and the others From zero To the upper bound"
	case k.Kind() == reflect.Float32 || k.Kind() == reflect.Float64:
		return "Negative numbers come after all others, and the greatest of them first: read them in a range of their own, " +
			"From the greatest negative value To the lower bound, and the others From zero To the upper bound"
	}
	return "Exchange the bounds if they were meant the other way round. Numbers in text and JSON have the order of " +
		"their characters: give them a fixed width, or scan all rows and skip some"
}

// hex shows the beginning of a key. Keys may be as long as 32 KB, and may be personal data.
func hex(k []byte) string {
	const most = 16
	if len(k) <= most {
		return fmt.Sprintf("0x%x", k)
	}
	return fmt.Sprintf("0x%x... of %d bytes", k[:most], len(k))
}
