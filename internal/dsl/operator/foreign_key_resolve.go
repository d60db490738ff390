package operator

import (
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// Resolve is where the responses of a foreign-key join come back to the left row.
type Resolve[K, L, R, O any] struct {
	Get wire.Getter[K, L]
	// Value encodes a left row. The bytes are valid until its next call.
	Value func(L) ([]byte, error)
	// Left has rows of the left side have results without a right row.
	Left bool
	Join func(l L, r R, ok bool) O
}

// Response returns the result that follows from a response. current is false when the left row has
// changed since it subscribed: this response is outdated, and that to the new row is still to come.
func (j *Resolve[K, L, R, O]) Response(
	record topology.Record[K, kswire.Response[R]],
) (out topology.Record[K, O], current bool, err error) {
	left, _, row, err := j.Get(record.Key)
	if err != nil {
		return out, false, err
	}
	// The left row may have changed while the subscription was on its way to the other tasks and
	// back. Only its hash came back, so the row of now is hashed and compared. A response to an
	// earlier row must not be joined: its foreign key may have been another one.
	var currentHash kswire.Hash
	if row {
		b, err := j.Value(left)
		if err != nil {
			return out, false, err
		}
		currentHash = kswire.HashOf(b)
	}
	if currentHash != record.Value.Hash {
		return out, false, nil
	}
	// An inner join without a right row, and a left row that was deleted, both end the result.
	if row && (j.Left || record.Value.HasValue) {
		return topology.WithValue(record, j.Join(left, record.Value.Value, record.Value.HasValue)), true, nil
	}
	var none O
	return topology.WithValue(record, none).Deleted(), true, nil
}
