package operator

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// Lookup joins the records of a stream with the rows of a table.
type Lookup[K, V, T, R any] struct {
	Get wire.Getter[K, T]
	// AsOf replaces Get for a table that keeps versions: it returns the row as it was at the
	// record's time.
	AsOf wire.AsOf[K, T]
	// Left has records without a row joined, too, and those without a key.
	Left bool
	Join func(v V, row T, ok bool) R
}

// Outcome is what became of a record in a join.
type Outcome uint8

// The outcomes: a result, none for lack of a row, or what the record lacks.
const (
	Joined Outcome = iota
	NoRow
	NoKey
	NoValue
)

// Record returns the result for the record, with its key, time and headers.
func (l *Lookup[K, V, T, R]) Record(
	record topology.Record[K, V],
) (out topology.Record[K, R], outcome Outcome, err error) {
	var row T
	var ok bool
	// A missing key is reported before a missing value: a record that lacks both is counted as one
	// without a key, as in Kafka Streams.
	switch {
	case record.NoKey && !l.Left:
		return out, NoKey, nil
	case record.Tombstone:
		return out, NoValue, nil
	case !record.NoKey:
		if l.AsOf != nil {
			row, _, ok, err = l.AsOf(record.Key, record.Time.UnixMilli())
		} else {
			row, _, ok, err = l.Get(record.Key)
		}
		if err != nil {
			return out, NoRow, err
		}
	}
	if !ok && !l.Left {
		return out, NoRow, nil
	}
	return topology.WithValue(record, l.Join(record.Value, row, ok)), Joined, nil
}
