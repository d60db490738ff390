package segmented

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/quote"
)

// meta is the content of the meta row, what a store knows of itself.
type meta struct {
	observedTime int64
	seq          uint32
	interval     int64 // ms: segments of another length have other numbers
	timeIndex    bool
	restored     bool // observedTime is of what a restore has read, which may not have settled
	restore      restoreMeta
}

// restoreMeta is, where observedTime is that of a restore, how much of it is certain. A standby may be restarted each
// day, and read less than restoreLag until the next time: without this it would begin anew to count, and its rows
// never expire.
type restoreMeta struct {
	provenTime, settledTime int64
	markedTime, bytes       int64 // of the last restoreMark, and the bytes of changelog since then
	offset                  int64 // of the changelog up to which bytes counts
}

// loadMeta reads the meta row and sets all state that follows from the rows of the engine: at the
// start, and after an undo.
func (s *Store) loadMeta() error {
	s.savedMeta = s.currentMeta(0)
	s.savedMeta.observedTime, s.savedMeta.seq = -1, 0
	v, _, ok, err := s.Engine.Get(metaKey)
	if err != nil {
		return err
	}
	if ok {
		if s.savedMeta, err = s.parseMeta(v); err != nil {
			return err
		}
		if s.savedMeta.interval != s.shape.interval || s.timeIndex && !s.savedMeta.timeIndex {
			return fmt.Errorf("store %q: %w", s.name, errOtherFormat)
		}
	}
	s.observedTime, s.seq = s.savedMeta.observedTime, s.savedMeta.seq
	s.settledTime = s.observedTime // what is on disk has settled
	// A restore, or a standby, has read what a worker wrote, of which the last epoch may not have settled: its
	// results were not sent, and rows that it made expire are still needed. Rows that have expired do no harm:
	// operators look no further back than their own time. Committed says how much is certain.
	s.restoredBytes, s.restoreMark = 0, restoreMark{observedTime: s.observedTime}
	if s.restoredMeta = s.savedMeta.restored; s.restoredMeta {
		r := s.savedMeta.restore
		s.settledTime, s.provenTime = r.settledTime, r.provenTime
		// Files may have rows that are newer than their checkpoint, and what lies between is read again.
		if r.offset == s.checkpoint.Offset {
			s.restoredBytes, s.restoreMark = r.bytes, restoreMark{observedTime: r.markedTime}
		}
	}
	s.journal.clear()
	s.prepared.ready = false
	s.tombstones, s.droppedBelow = 0, math.MinInt64
	s.writes++
	return s.loadTrim()
}

const (
	metaVersion         = 1
	restoredMetaVersion = 2 // with restoreMeta
	metaLen             = 1 + timeLen + seqLen + timeLen + 1
	restoredMetaLen     = metaLen + 5*timeLen
	indexFlag           = 1
	restoreFlag         = 2
)

// currentMeta returns what the meta row should contain now, of a store that has the changelog up to offset.
func (s *Store) currentMeta(offset int64) meta {
	m := meta{
		observedTime: s.observedTime, seq: s.seq, interval: s.shape.interval, timeIndex: s.timeIndex,
		restored: s.restoredMeta,
	}
	if m.restored {
		m.restore = restoreMeta{
			provenTime: s.provenTime, settledTime: s.settledTime, markedTime: s.restoreMark.observedTime,
			bytes: s.restoredBytes - s.restoreMark.bytes, offset: offset,
		}
	}
	return m
}

func appendMeta(b []byte, m meta) []byte {
	version, flags := byte(metaVersion), byte(0)
	if m.timeIndex {
		flags = indexFlag
	}
	if m.restored {
		version, flags = restoredMetaVersion, flags|restoreFlag
	}
	b = binary.BigEndian.AppendUint32(appendTime(append(b, version), m.observedTime), m.seq)
	b = append(binary.BigEndian.AppendUint64(b, uint64(m.interval)), flags)
	if m.restored {
		r := m.restore
		for _, n := range []int64{r.provenTime, r.settledTime, r.markedTime, r.bytes, r.offset} {
			b = appendTime(b, n)
		}
	}
	return b
}

// parseMeta is parseMeta with an error that names the store.
func (s *Store) parseMeta(b []byte) (meta, error) {
	m, err := parseMeta(b)
	if err != nil {
		err = codec.Undecodable(s.name, fmt.Errorf("store %q: %w", s.name, err))
	}
	return m, err
}

func parseMeta(b []byte) (meta, error) {
	known := len(b) == metaLen && b[0] == metaVersion || len(b) == restoredMetaLen && b[0] == restoredMetaVersion
	if !known {
		return meta{}, fmt.Errorf("unknown meta row %s", quote.Hex(b))
	}
	rest := b[1+timeLen:]
	flags := rest[seqLen+timeLen]
	m := meta{
		observedTime: timeAt(b[1:]), seq: binary.BigEndian.Uint32(rest),
		interval: int64(binary.BigEndian.Uint64(rest[seqLen:])), timeIndex: flags&indexFlag != 0,
		restored: flags&restoreFlag != 0,
	}
	m.restore = restoreMeta{provenTime: -1, settledTime: -1, offset: -1} // of an earlier version
	if b = b[metaLen:]; len(b) > 0 {
		m.restore = restoreMeta{
			timeAt(b), timeAt(b[timeLen:]), timeAt(b[2*timeLen:]), timeAt(b[3*timeLen:]), timeAt(b[4*timeLen:]),
		}
	}
	if !m.restored {
		m.restore = restoreMeta{}
	}
	return m, nil
}
