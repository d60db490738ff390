package serde

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Void is the key type of a topic without keys.
type Void struct{}

type (
	noneSerde    struct{}
	stringSerde  struct{}
	bytesSerde   struct{}
	boolSerde    struct{}
	int16Serde   struct{}
	int32Serde   struct{}
	int64Serde   struct{}
	float32Serde struct{}
	float64Serde struct{}
	timeSerde    struct{}
)

// The serdes of the basic types, byte for byte those of Kafka's Serdes class where it has one. They
// are stateless; none of their Appends allocates beyond dst.
//
// Stores are in the order of the bytes. That is the order of the values for String, Bytes, Bool and
// UUID; of the numbers and Time the negative values come after all others, and those of Float32 and
// Float64 in descending order.
var (
	// String is UTF-8. It neither checks nor repairs: bytes that are not UTF-8 come back as they were,
	// where Java's String would replace them.
	String stringSerde
	// Bytes is the bytes themselves. Decode returns b itself: the value aliases the fetched batch,
	// which is never recycled, and a value read from a store is valid until the next call on that
	// store. Do not change such a value; copy one that you keep.
	Bytes bytesSerde
	// Bool is one byte, 1 or 0; Decode refuses any other.
	Bool boolSerde
	// Int16 is two bytes, big-endian (Java's Short).
	Int16 int16Serde
	// Int32 is four bytes, big-endian (Java's Integer).
	Int32 int32Serde
	// Int64 is eight bytes, big-endian (Java's Long).
	Int64 int64Serde
	// Float32 is the IEEE 754 bits in four bytes, big-endian (Java's Float).
	Float32 float32Serde
	// Float64 is the IEEE 754 bits in eight bytes, big-endian (Java's Double). As in Java every NaN is
	// written as the same one.
	Float64 float64Serde
	// Time is the milliseconds since 1970 as an Int64, the form of Kafka's own timestamps (Java has no
	// such serde). What is finer than a millisecond is cut off; Decode returns UTC. A time more than
	// 292 million years away is an error.
	Time timeSerde
	// None is the key of a topic without keys: records read with it have no key, and records written
	// with it get a null key. Like Java's VoidDeserializer it refuses a key that holds bytes: read a
	// topic in which some have one with Bytes.
	None noneSerde
)

func (stringSerde) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (stringSerde) Decode(b []byte) (string, error)             { return string(b), nil }

func (bytesSerde) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (bytesSerde) Decode(b []byte) ([]byte, error)             { return b, nil }

func (noneSerde) Append(dst []byte, _ Void) ([]byte, error) { return dst, nil }
func (noneSerde) Decode(b []byte) (Void, error)             { return Void{}, checkLen(b, 0, "None") }

func (boolSerde) Append(dst []byte, v bool) ([]byte, error) {
	if v {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

func (boolSerde) Decode(b []byte) (bool, error) {
	if err := checkLen(b, 1, "Bool"); err != nil {
		return false, err
	}
	if b[0] > 1 {
		return false, fmt.Errorf("serde.Bool: byte %#02x is neither 0 nor 1", b[0])
	}
	return b[0] == 1, nil
}

func (int16Serde) Append(dst []byte, v int16) ([]byte, error) {
	return binary.BigEndian.AppendUint16(dst, uint16(v)), nil
}

func (int16Serde) Decode(b []byte) (int16, error) {
	if err := checkLen(b, 2, "Int16"); err != nil {
		return 0, err
	}
	return int16(binary.BigEndian.Uint16(b)), nil
}

func (int32Serde) Append(dst []byte, v int32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
}

func (int32Serde) Decode(b []byte) (int32, error) {
	if err := checkLen(b, 4, "Int32"); err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}

func (int64Serde) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func (int64Serde) Decode(b []byte) (int64, error) {
	if err := checkLen(b, 8, "Int64"); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func (float32Serde) Append(dst []byte, v float32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(v)), nil
}

func (float32Serde) Decode(b []byte) (float32, error) {
	if err := checkLen(b, 4, "Float32"); err != nil {
		return 0, err
	}
	return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
}

// javaNaN is what Java's Double.doubleToLongBits makes of every NaN. Go's math.NaN has other bits,
// and as a key it would then be another one than Java's. (Java's FloatSerializer keeps the bits of
// a NaN, and so does Float32.)
const javaNaN = 0x7ff8000000000000

func (float64Serde) Append(dst []byte, v float64) ([]byte, error) {
	bits := math.Float64bits(v)
	if v != v {
		bits = javaNaN
	}
	return binary.BigEndian.AppendUint64(dst, bits), nil
}

func (float64Serde) Decode(b []byte) (float64, error) {
	if err := checkLen(b, 8, "Float64"); err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

func (timeSerde) Append(dst []byte, v time.Time) ([]byte, error) {
	ms := v.UnixMilli() // of a time that does not fit it is another one's
	if s := v.Unix(); time.UnixMilli(ms).Unix() != s {
		return dst, fmt.Errorf("serde.Time: %d seconds from 1970 do not fit in 64 bits of milliseconds", s)
	}
	return Int64.Append(dst, ms)
}

func (timeSerde) Decode(b []byte) (time.Time, error) {
	if err := checkLen(b, 8, "Time"); err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC(), nil
}

func checkLen(b []byte, want int, name string) error {
	if len(b) == want {
		return nil
	}
	return fmt.Errorf("serde.%s: got %s, want %d", name, plural(len(b), "byte"), want)
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
