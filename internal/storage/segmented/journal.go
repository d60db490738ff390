package segmented

import (
	"bytes"
	"hash/maphash"

	"github.com/millstream-go/millstream/internal/storage"
)

var seed = maphash.MakeSeed()

// A journal is what an epoch put into a versioned store, in order: each version of a key once,
// where it was put last. The engine's own epoch cannot be the changelog's source, as it is for
// windows: it knows the last value of a local key, not the order of the puts.
type journal struct {
	records
	newest map[uint64]int32 // by hash of key and time: the index in entries
}

// records are changelog records to be sent. Keys and values are in one buffer.
type records struct {
	buf     []byte
	entries []journalEntry
}

type journalEntry struct {
	keyStart, valueStart int // in buf
	end                  int // of the value
	time                 int64
	tombstone            bool
	superseded           bool // put again later
}

// maxJournalBuffer is up to how many bytes the next epoch uses the buffer again. After a large
// epoch it is released.
const maxJournalBuffer = 1 << 20

func (j *journal) clear() {
	if cap(j.buf) > maxJournalBuffer {
		*j = journal{}
		return
	}
	j.records.clear()
	clear(j.newest)
}

// add adds a put. It copies key and value; a nil value is a deletion.
func (j *journal) add(key, value []byte, time int64) {
	if j.newest == nil {
		j.newest = map[uint64]int32{}
	}
	h := maphash.Bytes(seed, key) ^ uint64(time)*0x9e3779b97f4a7c15
	if i, ok := j.newest[h]; ok {
		// Different keys may have the same hash. The older one is then found no more, and may be sent
		// twice, which does no harm.
		if e := &j.entries[i]; e.time == time && bytes.Equal(j.key(e), key) {
			e.superseded = true
		}
	}
	j.newest[h] = int32(len(j.entries))
	j.records.add(key, value, time)
}

func (j *records) clear() {
	if cap(j.buf) > maxJournalBuffer {
		*j = records{}
		return
	}
	j.buf, j.entries = j.buf[:0], j.entries[:0]
}

// add appends a record. It copies key and value; a nil value is a deletion.
func (j *records) add(key, value []byte, time int64) {
	if j.buf == nil {
		j.buf = []byte{} // empty keys and values are not nil
	}
	e := journalEntry{keyStart: len(j.buf), time: time, tombstone: value == nil}
	j.buf = append(j.buf, key...)
	e.valueStart = len(j.buf)
	j.buf = append(j.buf, value...)
	e.end = len(j.buf)
	j.entries = append(j.entries, e)
}

func (j *records) change(e *journalEntry) storage.Change {
	return storage.Change{Key: j.key(e), Value: j.valueOf(e), Time: e.time}
}

func (j *records) key(e *journalEntry) []byte { return j.buf[e.keyStart:e.valueStart:e.valueStart] }

// valueOf returns an entry's value, nil for a deletion.
func (j *records) valueOf(e *journalEntry) []byte {
	if e.tombstone {
		return nil
	}
	return j.buf[e.valueStart:e.end:e.end]
}
