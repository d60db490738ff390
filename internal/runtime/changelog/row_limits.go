package changelog

import (
	"fmt"
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
)

// recordOverhead is the size of the headers of a batch and of a record, at most.
const recordOverhead = 61 + 40

// LimitRows returns an engine that refuses rows which the broker would refuse in the changelog,
// because of their size or their time. When a row is put, the record that leads to it is being
// processed, and its policy can decide. When the changelog record is sent in a commit, nobody could
// decide any more. config is the configuration of the changelog's topic.
//
// plain is set for key-value stores, whose rows are those of the changelog. Windows, sessions and
// versions write further rows with earlier times, so for them only times that are too far ahead are
// refused.
func LimitRows(e storage.Engine, config map[string]string, plain bool) storage.Engine {
	limits := kafka.LimitsOf(config)
	if !plain {
		limits.Before = math.MaxInt64
	}
	sized := limits.Bytes > recordOverhead
	if !sized && !limits.Timed() {
		return e
	}
	// No time is accepted yet: checkTime widens the range.
	bounded := &limitedEngine{
		Engine: e, limits: limits, maxBytes: math.MaxInt, acceptedFrom: math.MaxInt64, acceptedTo: math.MinInt64,
	}
	if sized {
		bounded.maxBytes = min(limits.Bytes, math.MaxInt32) - recordOverhead
	}
	if !limits.Timed() {
		bounded.acceptedFrom, bounded.acceptedTo = math.MinInt64, math.MaxInt64
	}
	return bounded
}

type limitedEngine struct {
	storage.Engine
	limits                   kafka.Limits
	maxBytes                 int
	acceptedFrom, acceptedTo int64 // times in this range are accepted without reading the clock
}

// Put implements storage.Bytes.
func (l *limitedEngine) Put(key, value []byte, time int64) error {
	if n := len(key) + len(value); n > l.maxBytes {
		return &retry.RowError{Err: fmt.Errorf("%w: a row of %d bytes does not fit the changelog, "+
			"whose max.message.bytes leaves room for %d: raise it, or write smaller rows", kafka.ErrTooLarge, n, l.maxBytes)}
	}
	if time < l.acceptedFrom || time > l.acceptedTo {
		if err := l.checkTime(time); err != nil {
			return err
		}
	}
	return l.Engine.Put(key, value, time)
}

// Delete implements storage.Bytes. The changelog gets a tombstone, which has a time too.
func (l *limitedEngine) Delete(key []byte, time int64) error {
	if time < l.acceptedFrom || time > l.acceptedTo {
		if err := l.checkTime(time); err != nil {
			return err
		}
	}
	return l.Engine.Delete(key, time)
}

// checkTime checks a time against the clock and widens the accepted range.
func (l *limitedEngine) checkTime(at int64) error {
	at = max(at, 0) // as in the changelog record
	now := time.Now().UnixMilli()
	if err := l.limits.CheckTime(at, now); err != nil {
		return &retry.RowError{Err: fmt.Errorf("the changelog does not accept the row: %w", err)}
	}
	// The limits move with the clock. What is not too far ahead now never will be; what is not too old
	// now will be some day, unless there is no such limit.
	l.acceptedTo = max(l.acceptedTo, at)
	if l.limits.Before == math.MaxInt64 {
		l.acceptedFrom = min(l.acceptedFrom, at)
	}
	return nil
}

// Visit implements storage.Visitor, also for engines that do not.
func (l *limitedEngine) Visit(r storage.Range, f func(storage.Entry, error) bool) {
	if e, ok := l.Engine.(storage.Visitor); ok {
		e.Visit(r, f)
		return
	}
	l.Engine.Scan(r)(f)
}

// IndexSeries implements storage.SeriesIndexer.
func (l *limitedEngine) IndexSeries(s storage.Series) {
	if e, ok := l.Engine.(storage.SeriesIndexer); ok {
		e.IndexSeries(s)
	}
}

// GroupSegments implements storage.Segmenter.
func (l *limitedEngine) GroupSegments(s storage.Segments) {
	if e, ok := l.Engine.(storage.Segmenter); ok {
		e.GroupSegments(s)
	}
}

// ReadAhead implements storage.AheadReader.
func (l *limitedEngine) ReadAhead(keys [][]byte) {
	if e, ok := l.Engine.(storage.AheadReader); ok {
		e.ReadAhead(keys)
	}
}

// Snapshot implements storage.Snapshotter.
func (l *limitedEngine) Snapshot() (storage.Snapshot, error) {
	if e, ok := l.Engine.(storage.Snapshotter); ok {
		return e.Snapshot()
	}
	return nil, fmt.Errorf("a %T has no snapshots", l.Engine)
}
