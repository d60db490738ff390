package op

import (
	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Resolve is where the answers of a foreign-key join come back to the left row.
type Resolve[K, L, R, O any] struct {
	Get wire.Getter[K, L]
	// Value encodes a left row; what it returns lives until its next call.
	Value func(L) ([]byte, error)
	// Left says that rows of the left side have results without the right one.
	Left bool
	Join func(l L, r R, ok bool) O
}

// Response returns the result that follows from an answer; current is false when the row is another one than the answer is for: its own
// answer is still to come.
func (x *Resolve[K, L, R, O]) Response(r topology.Record[K, interchange.Response[R]]) (out topology.Record[K, O], current bool, err error) {
	l, _, row, err := x.Get(r.Key)
	if err != nil {
		return out, false, err
	}
	var now interchange.Hash
	if row {
		b, err := x.Value(l)
		if err != nil {
			return out, false, &RecordError{err}
		}
		now = interchange.HashOf(b)
	}
	if now != r.Value.Hash {
		return out, false, nil
	}
	if row && (x.Left || r.Value.HasValue) {
		return topology.WithValue(r, x.Join(l, r.Value.Value, r.Value.HasValue)), true, nil
	}
	var none O
	return topology.WithValue(r, none).Deleted(), true, nil
}
