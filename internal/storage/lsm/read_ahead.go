package lsm

import (
	"math/bits"
	"runtime/debug"
	"slices"

	"github.com/millstream-go/millstream/internal/storage/btree"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/run"
)

// ReadAhead implements storage.AheadReader.
func (e *Engine) ReadAhead(keys [][]byte) {
	for group := range slices.Chunk(keys, memtable.AheadKeys) {
		if e.ahead.Begin(memtable.Hash(group[0])) {
			e.readAhead(group)
		}
	}
}

func (e *Engine) readAhead(keys [][]byte) {
	var into [memtable.AheadKeys]uint32
	hashes := memtable.HashAll(&into, keys)
	missing := uint32(1)<<len(keys) - 1
	for _, t := range e.tables {
		seen, touched := t.ReadAhead(hashes)
		missing &^= seen
		e.touched ^= touched
	}
	// Rows that are only written, like those of a table that nothing asks for old values, are looked up in
	// memory alone.
	if missing != 0 && e.inRuns.ahead.Begin(hashes[bits.TrailingZeros32(missing)]) {
		e.levels.readAhead(&e.inRuns, keys, hashes, missing)
	}
}

// getAhead is getRuns for a row that may have been found by readAhead.
func (e *Engine) getAhead(hash uint32, buf, key []byte) ([]byte, error) {
	if err := e.levels.damaged(); err != nil {
		return nil, err
	}
	e.inRuns.ahead.Use(hash)
	v := e.levels.acquire()
	defer e.levels.release(v)
	return e.levels.getIn(v, buf, key, e.inRuns.place(v, hash, key))
}

// runsAhead is what was found in runs for look-ups that may come.
type runsAhead struct {
	ahead  memtable.Ahead
	places [64]place // by hash
	group  btree.Group
}

// A place is where a row was found. It is good for one version: later ones may have a newer row.
type place struct {
	v    *version
	key  []byte
	file *run.File
	row  btree.RowAt
}

// longestPlace is the length of the longest key that has a place: places have copies.
const longestPlace = 256

// place returns where the row of a key is; nil when it is not known.
func (a *runsAhead) place(v *version, hash uint32, key []byte) *place {
	p := &a.places[hash%uint32(len(a.places))]
	if p.v != v || string(p.key) != string(key) {
		return nil
	}
	return p
}

// readAhead finds the rows of missing keys, a bit for each. What it reads of the files is right, as for get:
// damage that it finds is noted.
func (l *levels) readAhead(a *runsAhead, keys [][]byte, hashes []uint32, missing uint32) {
	if l.damaged() != nil {
		return
	}
	v := l.acquire()
	defer l.release(v)
	if len(v.runs) == 0 {
		return
	}
	var files [btree.GroupSize]*run.File // of the look-ups in the group
	var of [btree.GroupSize]int          // their keys
	n := 0
	var at *run.File // whose filter is read; nil: those of the group
	fault := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(fault)
		if p := recover(); p != nil {
			if at == nil && n > 0 {
				at = files[a.group.At()]
			}
			if at == nil {
				panic(p)
			}
			_ = l.distrust(at.Damage(p)) // get returns it
		}
		a.group.Reset()
	}()
	var sums [memtable.AheadKeys]uint64
	for i, key := range keys {
		sums[i] = run.Hash(key)
	}
	for _, inRun := range v.runs {
		var has [memtable.AheadKeys]*run.File
		for left := missing; left != 0; left &= left - 1 {
			i := bits.TrailingZeros32(left)
			if at = inRun.For(keys[i]); at != nil {
				at.Touch(sums[i])
			}
			has[i] = at
		}
		for left := missing; left != 0; left &= left - 1 {
			i := bits.TrailingZeros32(left)
			if at = has[i]; at == nil {
				continue
			}
			may, added := at.AddTo(&a.group, keys[i], sums[i])
			if may {
				missing &^= 1 << i
			}
			if added {
				files[n], of[n] = at, i
				n++
			}
		}
	}
	at = nil
	a.group.Find()
	for i := range n {
		row, ok := a.group.Row(i)
		key := keys[of[i]]
		if !ok || len(key) > longestPlace { // most often, a filter has let a key pass that is in another run
			continue
		}
		p := &a.places[hashes[of[i]]%uint32(len(a.places))]
		p.v, p.key, p.file, p.row = v, append(p.key[:0], key...), files[i], row
	}
}
