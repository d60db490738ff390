package segmented

import (
	"bytes"
	"math"

	"github.com/millstream-go/millstream/internal/storage"
)

// A pass writes the latest version of each key to the changelog again, a few at each cut. Latest
// versions never expire, and a changelog can only be deleted from its start: without passes one old
// row would hold all expired versions after it. It is what compaction would do, if compaction knew
// the store's time.
//
// When a pass is over, and the versions that were latest at its end are older than the history
// retention, nothing before the place where the pass began is needed:
//
//   - The latest version of each key is in the changelog after that place, from the pass or from a
//     later put.
//   - Each version before the latest ended when that one began, or earlier, so it has expired.
//   - A version that is put between those, late, has expired with them.
//   - A latest version that is a deletion is written again like a value, unless it has expired.
//     When a later version is put, the deletion becomes an older version that can still be read;
//     and without it a late put before it would be valid until that later version. Once it has
//     expired, no put can come before it.
type pass struct {
	underWay bool
	offset   int64  // where the pass began
	lastKey  []byte // the local key of the row that was copied last; nil: none
	rows     int64
}

// finishedPass is a pass that is over: see changelogTrim.addPass.
type finishedPass struct{ offset, until, rows int64 }

const (
	// A pass begins when the changelog has got passAfter records since the last one, or twice as many
	// as there are keys if that is more.
	passAfter = 4096
	// A cut copies passRows rows, or twice as many as the epoch wrote if that is more, and about
	// passBytes bytes at most.
	passRows  = 64
	passBytes = 1 << 20
)

// passUnderWay reports whether a pass is under way. It begins one that is due.
func (s *Store) passUnderWay(p *pass) bool {
	if p.underWay {
		return true
	}
	steps := s.trim.steps
	last := steps[len(steps)-1].offset
	if s.checkpoint.Offset-last < max(s.passAfter, 2*s.trim.rows) {
		return false
	}
	if n := len(steps); n > 1 && s.observedTime < steps[n-2].until+s.trim.quantum {
		// The stream time has hardly moved since the last pass. Another one would have the same until,
		// and while time stands still there could be any number of them.
		return false
	}
	*p = pass{underWay: true, offset: s.checkpoint.Offset}
	return true
}

// copyLatest continues a pass, and adds the rows that it copies to out. written is how many records
// the epoch wrote. It returns the pass when it is over.
func (s *Store) copyLatest(p *pass, written int, out *records) (*finishedPass, error) {
	if !s.passUnderWay(p) {
		return nil, nil
	}
	left, size := max(passRows, 2*written), 0
	r := storage.PrefixRange([]byte{latestClass})
	if p.lastKey != nil {
		r.From, r.FromAfter = bytes.Clone(p.lastKey), true
	}
	for e, err := range s.Engine.Scan(r) {
		if err != nil {
			return nil, err
		}
		if left == 0 || size > passBytes {
			return nil, nil
		}
		left--
		size += len(e.Key) + len(e.Value)
		p.rows++
		p.lastKey = append(p.lastKey[:0], e.Key...)
		v, err := readVersion(e.Value)
		if err != nil {
			return nil, err
		}
		// An expired deletion is not written again, and its tombstone is removed from the store in time.
		if v != nil || e.Time > s.readTime()-s.retention {
			out.add(e.Key[1:], v, e.Time)
		}
	}
	p.underWay = false
	return &finishedPass{p.offset, min(s.observedTime, math.MaxInt64-s.trim.quantum), p.rows}, nil
}
