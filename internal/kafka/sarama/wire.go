package sarama

import (
	"encoding/binary"
	"iter"
)

// What requests are written with that Sarama does not write (fetch_request.go, produce_request.go):
// compact strings and arrays have their length plus one in front, as a varint; 0 would be null.

func appendCompactLength(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n+1)) }

func appendCompactString(b []byte, s string) []byte {
	return append(appendCompactLength(b, len(s)), s...)
}

// noTags is where tagged fields would be.
const noTags = 0

// topicRuns yields what is sorted by topic in runs of one topic: a topic is in a request once. The
// number of topics stands in front of them, so it is counted by a pass of its own: a slice of the
// runs would be made for each request.
func topicRuns[T any](sorted []T, topic func(T) string) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for len(sorted) > 0 {
			n := 1
			for n < len(sorted) && topic(sorted[n]) == topic(sorted[0]) {
				n++
			}
			if !yield(sorted[:n]) {
				return
			}
			sorted = sorted[n:]
		}
	}
}

// countTopics returns how many runs topicRuns yields.
func countTopics[T any](sorted []T, topic func(T) string) (n int) {
	for i := range sorted {
		if i == 0 || topic(sorted[i]) != topic(sorted[i-1]) {
			n++
		}
	}
	return n
}
