package lsm

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/millstream-go/millstream/internal/storage/btree"
)

// AwaitMerges waits until nothing is to be merged, or a merge that began after the call has failed.
func (e *Engine) AwaitMerges() {
	for failures := 0; failures < 2; {
		e.merger.mu.Lock()
		progress, running := e.merger.attempt, e.merger.done != nil
		e.merger.mu.Unlock()
		if from, to := e.levels.plan(e.levels.list()); from == to && !running {
			return
		}
		e.merger.start()
		e.merger.mu.Lock()
		done := e.merger.done
		e.merger.mu.Unlock()
		if done == nil {
			return
		}
		select {
		case <-progress:
		case <-done:
		}
		if e.merger.healthy() != nil {
			failures++
		}
	}
}

// OpenFiles returns how many files are mapped.
func (e *Engine) OpenFiles() int { return int(e.levels.files.Load()) }

// DecodeRoot decodes a root of a store and encodes it again.
func DecodeRoot(b []byte, o Options) ([]byte, error) {
	r, err := decodeRoot(b, &o)
	if err != nil {
		return nil, err
	}
	return appendRoot(nil, &o, &r), nil
}

// WithVersion returns a root with another version, and the checksum that goes with it.
func WithVersion(root []byte, version byte) []byte {
	if len(root) < len(rootMagic)+1+4 {
		return root
	}
	b := bytes.Clone(root)
	copy(b, rootMagic)
	b[len(rootMagic)] = version
	return binary.BigEndian.AppendUint32(b[:len(b)-4], crc32.Checksum(b[:len(b)-4], btree.Castagnoli))
}

// Numbers takes n numbers of files, and opens as many files in between.
func (e *Engine) Numbers(n int) (taken []uint64) {
	for range n {
		taken = append(taken, e.levels.next.Add(1))
		e.levels.raise(taken[0])
	}
	return taken
}

// Hurries reports whether a merge hurries while the first flush since the store was opened, of n bytes, notes what it has written.
func (e *Engine) Hurries(n int64) bool {
	e.levels.flushed.Add(n)
	defer e.levels.flushed.Add(-n)
	m := newMerger(e.levels)
	m.last = &underWay{}
	return m.hurry()
}
