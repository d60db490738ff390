package operator

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// LookupBy joins the records of a stream with the rows of a table under keys that are computed from
// the records.
type LookupBy[K, V, GK, T, R any] struct {
	Get wire.Getter[GK, T]
	// Key computes the key to look up; ok false: there is none. It is called once for each record
	// that has a value.
	Key func(topology.Record[K, V]) (k GK, ok bool)
	// Left has records without a row, or without a key to look up, joined, too.
	Left bool
	Join func(v V, row T, ok bool) R
}

// Record returns the result for the record, with its key, time and headers.
func (l *LookupBy[K, V, GK, T, R]) Record(
	record topology.Record[K, V],
) (out topology.Record[K, R], outcome Outcome, err error) {
	if record.Tombstone {
		return out, NoValue, nil
	}
	var row T
	k, ok := l.Key(record)
	switch {
	case ok:
		if row, _, ok, err = l.Get(k); err != nil {
			return out, NoRow, err
		}
	case !l.Left:
		return out, NoKey, nil
	}
	if !ok && !l.Left {
		return out, NoRow, nil
	}
	return topology.WithValue(record, l.Join(record.Value, row, ok)), Joined, nil
}
