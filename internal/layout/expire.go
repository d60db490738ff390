package layout

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
)

// expired is whether a row of that time is: reads do not see it.
func (l *Log) expired(t int64) bool { return t <= l.observed-l.retention }

// over is whether a row of that time may go: nothing sees it.
func (l *Log) over(t int64) bool { return t <= l.now()-l.retention }

// gone is whether reads do not see the row of a local key.
func (l *Log) gone(key []byte) bool {
	if len(key) == 0 {
		return false
	}
	switch key[0] {
	case rowClass:
		return len(key) >= headLen+l.shape.tailLen() && l.over(l.shape.rowTime(key))
	case timeClass:
		return len(key) >= headLen && l.over(timeAt(key[1:]))
	case olderClass: // the version ended before what can be asked for
		return len(key) >= headLen+olderTail && timeAt(key[len(key)-olderTail:]) <= l.observed-l.retention
	}
	return false
}

// giveUp tells the engine which segments have expired as a whole.
func (l *Log) giveUp() {
	oldest := segmentOf(l.now()-l.retention+1, l.shape.segment)
	if l.now() < 0 || oldest <= l.floor {
		return
	}
	l.floor = oldest
	class := byte(rowClass)
	if l.kind == graph.Versioned {
		class = olderClass
	}
	l.Engine.Expire([]byte{class}, appendTime([]byte{class}, oldest))
	if l.index {
		l.Engine.Expire([]byte{timeClass}, appendTime([]byte{timeClass}, oldest*l.shape.segment))
	}
}

// mark is a place in a changelog, in bytes from where its restore began, and the observed time there.
type mark struct{ at, observed int64 }

// restoreLag is how many bytes behind the changelog's end what it has makes rows expire, in stores with an index by time: more than
// an epoch writes, so that none is one that has not settled.
var restoreLag int64 = 16 << 20

// read notes that a restore has got further by n bytes.
func (l *Log) read(n int64) {
	if l.bytes += n; l.bytes-l.mark.at >= restoreLag {
		l.told = max(l.told, l.mark.observed)
		l.mark = mark{l.bytes, l.observed}
	}
}

// clip has a scan begin behind the segments that have expired, which may have any number of rows left.
func (l *Log) clip(r store.Range) store.Range {
	if len(r.From) == 0 || l.now() < 0 {
		return r
	}
	bound := l.now() - l.retention + 1
	switch r.From[0] {
	case rowClass, olderClass:
		bound = segmentOf(bound, l.shape.segment)
	case timeClass:
	default:
		return r
	}
	if len(r.From) < headLen || timeAt(r.From[1:]) < bound {
		r.From, r.FromAfter = appendTime([]byte{r.From[0]}, bound), false
	}
	return r
}
