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
}

// loadMeta reads the meta row and sets all state that follows from the rows of the engine: at the
// start, and after an undo.
func (s *Store) loadMeta() error {
	s.savedMeta = s.currentMeta()
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
	if s.restoredMeta = s.savedMeta.restored; s.restoredMeta {
		s.settledTime, s.provenTime = -1, -1
	}
	s.restoredBytes, s.restoreMark = 0, restoreMark{observedTime: s.observedTime}
	s.journal.clear()
	s.prepared.ready = false
	s.tombstones, s.droppedBelow = 0, math.MinInt64
	s.writes++
	return s.loadTrim()
}

const (
	metaVersion = 1
	metaLen     = 1 + timeLen + seqLen + timeLen + 1
	indexFlag   = 1
	restoreFlag = 2
)

// currentMeta returns what the meta row should contain now.
func (s *Store) currentMeta() meta {
	return meta{
		observedTime: s.observedTime, seq: s.seq, interval: s.shape.interval, timeIndex: s.timeIndex,
		restored: s.restoredMeta,
	}
}

func appendMeta(b []byte, m meta) []byte {
	b = binary.BigEndian.AppendUint32(appendTime(append(b, metaVersion), m.observedTime), m.seq)
	flags := byte(0)
	if m.timeIndex {
		flags = indexFlag
	}
	if m.restored {
		flags |= restoreFlag
	}
	return append(binary.BigEndian.AppendUint64(b, uint64(m.interval)), flags)
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
	if len(b) != metaLen || b[0] != metaVersion {
		return meta{}, fmt.Errorf("unknown meta row %s", quote.Hex(b))
	}
	rest := b[1+timeLen:]
	return meta{
		observedTime: timeAt(b[1:]), seq: binary.BigEndian.Uint32(rest),
		interval: int64(binary.BigEndian.Uint64(rest[seqLen:])), timeIndex: rest[seqLen+timeLen]&indexFlag != 0,
		restored: rest[seqLen+timeLen]&restoreFlag != 0,
	}, nil
}
