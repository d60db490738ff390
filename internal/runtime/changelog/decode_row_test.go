package changelog

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// What a topic's records did to a store is asked of the user's serdes, under their policies: an
// error is one that ends the restore, and so is a panic.
func TestDecodeRow_ErrorsAndPanics(t *testing.T) {
	l := &Log{DecodeRow: func(r *kafka.Record) (storage.Change, bool, error) {
		switch string(r.Value) {
		case "undecodable":
			return storage.Change{}, false, errors.New("no text")
		case "panic":
			panic("boom")
		}
		return storage.Change{Key: r.Key, Value: append([]byte("<"), r.Value...), Time: r.Time}, r.Key != nil, nil
	}}
	record := func(offset int64, key, value string) kafka.Record {
		r := kafka.Record{Offset: offset, Value: []byte(value), Time: 9}
		if key != "" {
			r.Key = []byte(key)
		}
		return r
	}
	b := &kafka.Batch{Records: []kafka.Record{record(3, "a", "1"), record(4, "", "no key"), record(5, "b", "2"), record(6, "a", "undecodable")}}
	got, err := l.changes(nil, b, 6)
	require.NoError(t, err)
	assert.Equal(t, []storage.Change{{Key: []byte("a"), Value: []byte("<1"), Time: 9}, {Key: []byte("b"), Value: []byte("<2"), Time: 9}}, got)
	_, err = l.changes(nil, b, 7)
	require.ErrorContains(t, err, "offset 6: no text")
	_, err = l.changes(nil, &kafka.Batch{Records: []kafka.Record{record(7, "c", "panic")}}, 8)
	require.ErrorContains(t, err, "offset 7: panic: boom")
	assert.ErrorContains(t, err, "decode_row_test.go")
}
