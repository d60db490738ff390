package op

import (
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Lookup joins the records of a stream with the rows of a table.
type Lookup[K, V, T, R any] struct {
	Get wire.Getter[K, T]
	// AsOf, of a table that keeps versions, is used instead: the row as it was at the record's time.
	AsOf wire.AsOf[K, T]
	// Left says that records without a row are joined too, and those without a key.
	Left bool
	Join func(v V, row T, ok bool) R
}

// Dropped says why a record has no result.
type Dropped uint8

// What Record says of a record: it has a result, it has none as there is no row, or what it lacks.
const (
	Joined Dropped = iota
	NoRow
	NoKey
	NoValue
)

// Record returns the result for r: with its key, time and headers.
func (l *Lookup[K, V, T, R]) Record(r topology.Record[K, V]) (out topology.Record[K, R], d Dropped, err error) {
	var row T
	var ok bool
	switch {
	case r.NoKey && !l.Left:
		return out, NoKey, nil
	case r.Tombstone:
		return out, NoValue, nil
	case !r.NoKey:
		if l.AsOf != nil {
			row, _, ok, err = l.AsOf(r.Key, r.Time.UnixMilli())
		} else {
			row, _, ok, err = l.Get(r.Key)
		}
		if err != nil {
			return out, NoRow, err
		}
	}
	if !ok && !l.Left {
		return out, NoRow, nil
	}
	return topology.WithValue(r, l.Join(r.Value, row, ok)), Joined, nil
}
