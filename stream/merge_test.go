package stream_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/stream"
)

// TestMerge_OfAStreamWithItselfHasEachRecordTwice: a merge has the records of each of its inputs,
// whether they are one handle or two.
func TestMerge_OfAStreamWithItselfHasEachRecordTwice(t *testing.T) {
	all := func(_, _ string) bool { return true }
	one := run(t, func(s stream.KStream[string, string]) stream.KStream[string, string] { return stream.Merge(s, s) }, "a=x")
	two := run(t, func(s stream.KStream[string, string]) stream.KStream[string, string] {
		return stream.Merge(s, stream.Filter(s, all))
	}, "a=x")
	assert.Len(t, one.out, 2)
	assert.Equal(t, two.out, one.out)
}
