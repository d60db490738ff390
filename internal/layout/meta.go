package layout

import (
	"encoding/binary"
	"fmt"
	"math"
)

// meta is what the meta row holds.
type meta struct {
	observed int64
	seq      uint32
	segment  int64 // ms: segments of another length have other numbers
	index    bool
}

// load reads the meta row.
func (l *Log) load() error {
	l.saved = l.meta()
	l.saved.observed, l.saved.seq = -1, 0
	v, _, ok, err := l.Engine.Get(metaKey)
	if err != nil {
		return err
	}
	if ok {
		if l.saved, err = parseMeta(v); err != nil {
			return fmt.Errorf("store %q: %w", l.name, err)
		}
		if l.saved.segment != l.shape.segment || l.index && !l.saved.index {
			return fmt.Errorf("store %q: %w", l.name, errOtherLayout)
		}
	}
	l.observed, l.told, l.seq = l.saved.observed, l.saved.observed, l.saved.seq // what is on disk has settled
	l.bytes, l.mark = 0, mark{observed: l.observed}
	l.journal.clear()
	l.deleted, l.floor = 0, math.MinInt64
	l.writes++
	return nil
}

const (
	metaVersion = 1
	metaLen     = 1 + timeLen + seqLen + timeLen + 1
	indexFlag   = 1
)

// meta returns what the meta row is to hold now.
func (l *Log) meta() meta {
	return meta{observed: l.observed, seq: l.seq, segment: l.shape.segment, index: l.index}
}

func appendMeta(b []byte, m meta) []byte {
	b = binary.BigEndian.AppendUint32(appendTime(append(b, metaVersion), m.observed), m.seq)
	flags := byte(0)
	if m.index {
		flags = indexFlag
	}
	return append(binary.BigEndian.AppendUint64(b, uint64(m.segment)), flags)
}

func parseMeta(b []byte) (meta, error) {
	if len(b) != metaLen || b[0] != metaVersion {
		return meta{}, fmt.Errorf("unknown meta row %x", b)
	}
	rest := b[1+timeLen:]
	return meta{
		observed: timeAt(b[1:]), seq: binary.BigEndian.Uint32(rest),
		segment: int64(binary.BigEndian.Uint64(rest[seqLen:])), index: rest[seqLen+timeLen]&indexFlag != 0,
	}, nil
}
