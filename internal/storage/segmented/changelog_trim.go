package segmented

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
)

// A changelogTrim knows how much of the changelog, from its start, a restore does not need any
// more. Compaction removes none of it: each window has a key of its own, and all versions that can
// still be read have to stay. So the store's owner deletes it.
//
// The changelog is divided into steps. The records from a step's offset up to the next step are
// needed until the store's bound (its time minus the retention) has reached the step's until. The
// last step is always needed: it has the newest row, from which a restore knows the store's time.
//
// Offsets are known only when an epoch has settled, so a step begins with the epoch whose rows need
// it. Untils are rounded up, so that there are about twenty steps, in whatever order the times
// come.
type changelogTrim struct {
	steps     []trimStep // offsets and untils ascend
	quantum   int64      // untils are multiples of it
	rows      int64      // copied by the last pass over the latest versions
	changed   bool       // steps differ from the row in the store
	rewritten int64      // since the last epoch settled, the latest time of rows written to the changelog again
	unsettled []epochTimes
}

type trimStep struct{ offset, until int64 }

// epochTimes is what an unsettled epoch will change.
type epochTimes struct {
	epoch    uint64
	latest   int64 // the latest time of its records
	bound    int64
	finished *finishedPass
}

// quanta is how many steps a retention is divided into. With more, the changelog is deleted in
// smaller pieces and the row with the steps grows.
const quanta = 16

// maxSteps is twice as many steps as a store has that knows its bound. Beyond it steps are merged.
const maxSteps = 2*quanta + 8

const noTime = math.MinInt64

func newChangelogTrim(retention int64) changelogTrim {
	return changelogTrim{quantum: max(retention/quanta, 1), rewritten: noTime}
}

// reset begins with the steps that the store contains. Its rows have times up to observed, -1 when
// it has none.
func (ct *changelogTrim) reset(stored []trimStep, rows, observed int64, versions bool) {
	ct.steps, ct.rows, ct.rewritten, ct.unsettled, ct.changed = stored, rows, noTime, nil, false
	switch {
	case versions && len(stored) == 0: // latest versions never expire: all is needed until the first pass is over
		ct.steps = []trimStep{{0, math.MaxInt64}}
	case versions || observed < 0:
	case len(stored) == 0:
		ct.add(0, observed)
	default: // the row with the steps was written at a cut, so it lacks the epochs that settled since
		newest := &ct.steps[len(stored)-1]
		newest.until = max(newest.until, ct.roundUp(observed))
	}
}

// roundUp rounds a time up to the next multiple of the quantum.
func (ct *changelogTrim) roundUp(t int64) int64 {
	if t < 0 || t > math.MaxInt64-ct.quantum {
		return t
	}
	return (t + ct.quantum - 1) / ct.quantum * ct.quantum
}

// add notes that there are records from offset on whose rows have times up to t.
func (ct *changelogTrim) add(offset, t int64) {
	// The last step is needed at least as long already.
	n := len(ct.steps)
	if n > 0 && t <= ct.steps[n-1].until {
		return
	}
	switch t = ct.roundUp(t); {
	case n > 0 && offset <= ct.steps[n-1].offset:
		ct.steps[n-1].until = t
	default:
		ct.steps = append(ct.steps, trimStep{offset, t})
	}
	if len(ct.steps) > maxSteps {
		ct.mergePairs()
	}
	ct.changed = true
}

// mergePairs makes one step of every two. The records of the first are then kept as long as those
// of the second, which is longer than needed. It is for stores of operators that emit on close:
// their bound comes from the operator, so they have none during a restore and no step ends. A long
// changelog with a short retention would have as many steps as records.
func (ct *changelogTrim) mergePairs() {
	n := 0
	for i := 0; i < len(ct.steps); i += 2 {
		ct.steps[n] = trimStep{ct.steps[i].offset, ct.steps[min(i+1, len(ct.steps)-1)].until}
		n++
	}
	ct.steps = ct.steps[:n]
}

// dropExpired removes the steps whose records are not needed any more.
func (ct *changelogTrim) dropExpired(bound int64) {
	n := 0
	for n < len(ct.steps)-1 && ct.steps[n].until <= bound {
		n++
	}
	if n > 0 {
		ct.steps, ct.changed = append(ct.steps[:0], ct.steps[n:]...), true
	}
}

// settle applies the times of the epochs up to this one. Their records begin at offset.
func (ct *changelogTrim) settle(epoch uint64, offset int64, versions bool) {
	latest, bound := ct.rewritten, int64(noTime)
	for len(ct.unsettled) > 0 && ct.unsettled[0].epoch <= epoch {
		c := ct.unsettled[0]
		ct.unsettled = ct.unsettled[1:]
		latest, bound = max(latest, c.latest), c.bound
		if c.finished != nil {
			ct.addPass(*c.finished)
		}
	}
	ct.rewritten = noTime
	if latest != noTime && !versions {
		ct.add(offset, latest)
	}
	ct.dropExpired(bound)
}

// addPass begins a step where a finished pass began. The records before it are needed until the
// bound has passed the times that the latest versions had when the pass ended.
func (ct *changelogTrim) addPass(done finishedPass) {
	last := &ct.steps[len(ct.steps)-1]
	if done.offset <= last.offset {
		return
	}
	last.until = done.until
	ct.steps, ct.rows, ct.changed = append(ct.steps, trimStep{done.offset, math.MaxInt64}), done.rows, true
}

// Settle implements storage.Engine.
func (s *Store) Settle(epoch uint64, c storage.Checkpoint) {
	s.trim.settle(epoch, s.checkpoint.Offset, s.kind == graph.Versioned)
	s.checkpoint = c
	s.Engine.Settle(epoch, c)
}

// SetLogStart sets the first offset of the changelog. Steps before it are not there any more.
func (s *Store) SetLogStart(offset int64) {
	p := &s.trim
	for len(p.steps) > 1 && p.steps[1].offset <= offset {
		p.steps, p.changed = p.steps[1:], true
	}
	if len(p.steps) > 0 && p.steps[0].offset < offset {
		p.steps[0].offset, p.changed = offset, true
	}
}

// NextTrim returns the first step boundary of a versioned store: the records before offset are not
// needed once the bound has reached until. It is committed with the offsets, for the store that is
// restored from the changelog (ResumeTrim). A restore of windows finds the steps in the records; of
// a pass there is no trace in them.
func (s *Store) NextTrim() (offset, until int64, ok bool) {
	p := &s.trim
	if s.kind != graph.Versioned || len(p.steps) < 2 {
		return 0, 0, false
	}
	return p.steps[1].offset, p.steps[0].until, true
}

// ResumeTrim sets the step boundary that NextTrim returned before, in a restored store that knows
// of no pass.
func (s *Store) ResumeTrim(offset, until int64) {
	if p := &s.trim; s.kind == graph.Versioned && len(p.steps) == 1 {
		p.addPass(finishedPass{offset, until, p.rows})
	}
}

// RestoreAt is Restore with the offset of each change, which places the steps exactly.
func (s *Store) RestoreAt(changes []storage.Change, offsets []int64, c storage.Checkpoint) error {
	s.restoreOffsets = offsets
	defer func() { s.restoreOffsets = nil }()
	return s.Restore(changes, c)
}

// restoreOffset returns the offset of change i of a restore, or, in a Restore without offsets, that
// of the restore's start.
func (s *Store) restoreOffset(i int) int64 {
	if i < len(s.restoreOffsets) {
		return s.restoreOffsets[i]
	}
	return s.checkpoint.Offset
}

// TrimOffset returns the changelog offset before which a restore needs nothing. All records before
// it belong to settled epochs, and had expired by the time of a settled epoch.
func (s *Store) TrimOffset() int64 {
	if len(s.trim.steps) == 0 {
		return 0
	}
	return s.trim.steps[0].offset
}

// trimKey is the local key of the row with the steps. It sorts after the meta row.
var trimKey = []byte{metaClass, 1}

const trimVersion = 1

// saveTrim writes the steps, if they have changed, as part of the current epoch.
func (s *Store) saveTrim() error {
	p := &s.trim
	if !p.changed {
		return nil
	}
	p.changed = false
	s.buf = appendTrim(s.buf[:0], p.rows, p.steps)
	return s.Engine.Put(trimKey, s.buf, max(s.observedTime, 0))
}

func appendTrim(b []byte, rows int64, steps []trimStep) []byte {
	b = binary.BigEndian.AppendUint64(append(b, trimVersion), uint64(rows))
	for _, s := range steps {
		b = appendTime(binary.BigEndian.AppendUint64(b, uint64(s.offset)), s.until)
	}
	return b
}

const (
	trimHead    = 1 + 8
	trimStepLen = 8 + timeLen
)

// parseTrim is the inverse of appendTrim.
func parseTrim(b []byte) (rows int64, steps []trimStep, err error) {
	if len(b) < trimHead || (len(b)-trimHead)%trimStepLen != 0 || b[0] != trimVersion {
		return 0, nil, fmt.Errorf("unknown row about the changelog %x", b[:min(len(b), 64)])
	}
	rows = int64(binary.BigEndian.Uint64(b[1:]))
	for b = b[trimHead:]; len(b) > 0; b = b[trimStepLen:] {
		steps = append(steps, trimStep{int64(binary.BigEndian.Uint64(b)), timeAt(b[8:])})
	}
	return rows, steps, nil
}

// loadTrim reads the steps.
func (s *Store) loadTrim() error {
	stored, _, ok, err := s.Engine.Get(trimKey)
	if err != nil {
		return err
	}
	var rows int64
	var steps []trimStep
	if ok {
		if rows, steps, err = parseTrim(stored); err != nil {
			return codec.Undecodable(s.name, fmt.Errorf("store %q: %w", s.name, err))
		}
	}
	s.trim.reset(steps, rows, s.observedTime, s.kind == graph.Versioned)
	s.pass = pass{}
	return nil
}
