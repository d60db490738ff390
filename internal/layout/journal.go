package layout

import (
	"bytes"
	"hash/maphash"
)

var seed = maphash.MakeSeed()

// A journal is what an epoch put into a versioned store, in order: each version of a key once, where it was put last. Keys and
// values stand in one buffer.
type journal struct {
	buf     []byte
	entries []entry
	at      map[uint64]int32 // by hash of key and time: the entry
}

type entry struct {
	key, value int // where they begin in buf; the value ends where end says
	end        int
	time       int64
	gone       bool // a deletion
	dead       bool // put again later
}

const journalKeeps = 1 << 20 // bytes of buffer that the next epoch gets

func (j *journal) clear() {
	if cap(j.buf) > journalKeeps {
		*j = journal{}
		return
	}
	j.buf, j.entries = j.buf[:0], j.entries[:0]
	clear(j.at)
}

// add notes a put. It copies key and value; a nil value is a deletion.
func (j *journal) add(key, value []byte, time int64) {
	if j.at == nil {
		j.at, j.buf = map[uint64]int32{}, []byte{} // empty keys and values are not nil
	}
	h := maphash.Bytes(seed, key) ^ uint64(time)*0x9e3779b97f4a7c15
	if i, ok := j.at[h]; ok {
		if e := &j.entries[i]; e.time == time && bytes.Equal(j.key(e), key) {
			e.dead = true
		}
	}
	j.at[h] = int32(len(j.entries))
	e := entry{key: len(j.buf), time: time, gone: value == nil}
	j.buf = append(j.buf, key...)
	e.value = len(j.buf)
	j.buf = append(j.buf, value...)
	e.end = len(j.buf)
	j.entries = append(j.entries, e)
}

func (j *journal) key(e *entry) []byte { return j.buf[e.key:e.value:e.value] }

// valueOf returns an entry's value, nil for a deletion.
func (j *journal) valueOf(e *entry) []byte {
	if e.gone {
		return nil
	}
	return j.buf[e.value:e.end:e.end]
}
