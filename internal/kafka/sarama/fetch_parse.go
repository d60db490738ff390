package sarama

import (
	"encoding/binary"
	"errors"
	"fmt"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// fetchedPartition is what a fetch response says of one partition.
type fetchedPartition struct {
	index            int32
	code             ibm.KError
	highWatermark    int64
	lastStable       int64
	logStart         int64
	aborted          []recordbatch.AbortedTransaction
	preferredReplica int32 // where to read instead; -1: here
	records          []byte
}

var errMalformedResponse = errors.New("the fetch response is malformed")

// fieldReader reads the fields of a response. Once it has run over the end it is malformed and
// yields zeros, so that a parser checks once, at the end.
type fieldReader struct {
	rest      []byte
	malformed bool
}

func (r *fieldReader) next(n int) []byte {
	if r.malformed || n < 0 || n > len(r.rest) {
		r.malformed = true
		return nil
	}
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}

func (r *fieldReader) int16() int16 {
	if v := r.next(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (r *fieldReader) int32() int32 {
	if v := r.next(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (r *fieldReader) int64() int64 {
	if v := r.next(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (r *fieldReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.malformed = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count is the length of a compact array or string, where 0 is null; each element takes at least a
// byte.
func (r *fieldReader) count() int {
	n := r.uvarint()
	if n == 0 || r.malformed {
		return 0
	}
	if n-1 > uint64(len(r.rest)) {
		r.malformed = true
		return 0
	}
	return int(n - 1)
}

// skipTags passes over tagged fields: Kafka adds them to a version that is in use, and none of them
// matters here.
func (r *fieldReader) skipTags() {
	for n := r.uvarint(); n > 0 && !r.malformed; n-- {
		r.uvarint()
		if size := r.uvarint(); size <= uint64(len(r.rest)) {
			r.next(int(size))
		} else {
			r.malformed = true
		}
	}
}

// parseFetchResponse calls each for every partition in a fetch response of version 12. It returns
// the id of the fetch session, and the error that is of the whole response.
func parseFetchResponse(body []byte, each func(topic string, fp *fetchedPartition)) (session int32, err error) {
	r := fieldReader{rest: body}
	r.int32() // throttle time
	code := ibm.KError(r.int16())
	session = r.int32()
	for range r.count() {
		topic := string(r.next(r.count()))
		for range r.count() {
			fp := r.partition()
			// Before each sees it: half a partition would look like an empty one.
			if r.malformed {
				return 0, errMalformedResponse
			}
			each(topic, &fp)
		}
		r.skipTags()
	}
	r.skipTags()
	if r.malformed {
		return 0, errMalformedResponse
	}
	if err := codeError(code); err != nil {
		return 0, fmt.Errorf("fetch: %w", err)
	}
	return session, nil
}

func (r *fieldReader) partition() fetchedPartition {
	fp := fetchedPartition{index: r.int32(), code: ibm.KError(r.int16()),
		highWatermark: r.int64(), lastStable: r.int64(), logStart: r.int64()}
	for range r.count() {
		fp.aborted = append(fp.aborted, recordbatch.AbortedTransaction{ProducerID: r.int64(), FirstOffset: r.int64()})
		r.skipTags()
	}
	fp.preferredReplica = r.int32()
	fp.records = r.next(r.count())
	r.skipTags()
	return fp
}
