package memtable

import "github.com/millstream-go/millstream/internal/storage"

// AheadKeys is how many keys a table reads ahead at once: as many as make all reads that the processor can
// have under way, and so few that what was read is in its nearest cache when it is used.
const AheadKeys = 16

// ReadAhead reads the memory that look-ups and writes of keys with these hashes, at most AheadKeys, begin
// with. It returns which of them the table seems to have, a bit for each. A look-up in a large table waits
// for memory twice, for the slot and for the entry. Here no read depends on the one before: the
// processor has those of all keys under way at once. touched depends on all that was read, or the
// compiler would leave the reads out.
//
//go:noinline
func (t *Table) ReadAhead(hashes []uint32) (seen uint32, touched byte) {
	ix := &t.index
	if t.pile.Load() != nil || ix.count == 0 {
		return 0, 0
	}
	var slots [AheadKeys]uint64
	for i, hash := range hashes {
		slots[i] = ix.slots[hash&ix.mask]
	}
	var entries [AheadKeys]ref
	n := 0
	for i, hash := range hashes {
		s := slots[i]
		for at := hash; s != 0 && uint32(s>>32) != hash; {
			at++
			s = ix.slots[at&ix.mask]
		}
		if s != 0 {
			seen |= 1 << i
			entries[n] = ref(s)
			n++
		}
	}
	return seen, t.touch(entries[:n])
}

// touch reads a byte of each cache line of entries.
func (t *Table) touch(entries []ref) (touched byte) {
	for _, r := range entries {
		touched ^= t.arena.bytes(r)[22]
	}
	// Not beyond the entry: what is there may be somebody else's.
	for _, r := range entries {
		e := entry(t.arena.bytes(r))
		for at, size := 64, min(e.size(), maxTouched); at < size; at += 64 {
			touched ^= e[at]
		}
	}
	return touched
}

// HashAll returns the hashes of at most AheadKeys keys in into.
func HashAll(into *[AheadKeys]uint32, keys [][]byte) []uint32 {
	for i, key := range keys {
		into[i] = Hash(key)
	}
	return into[:len(keys)]
}

// ReadAheadOf is ReadAhead for changes that are written next. A table that is filled with many rows waits
// for the slot of each.
func (t *Table) ReadAheadOf(changes []storage.Change) {
	if t.pile.Load() != nil {
		return // nothing is looked up
	}
	var hashes [AheadKeys]uint32
	changes = changes[:min(len(changes), AheadKeys)]
	for i, c := range changes {
		hashes[i] = Hash(c.Key)
	}
	_, touched := t.ReadAhead(hashes[:len(changes)])
	t.touched ^= touched
}

// maxTouched is how much of an entry is read ahead. The processor fetches the rest of a large value by
// itself when it is read.
const maxTouched = 512

// Ahead says whether it pays to read ahead. Who asks for it knows the keys of records, and not whether
// the steps between look them up, or others, or drop most records. So one key of each group is a
// sample, and while few samples are used nothing is read ahead but now and then.
type Ahead struct {
	samples [16]uint32 // hashes; 0: none
	groups  int        // with a sample, since the last decision
	used    int        // samples that were looked up or written
	pause   int        // groups that are left out
}

const (
	aheadTrial = 32   // groups until a decision
	aheadPause = 1024 // groups that are left out when it does not pay
	aheadWorth = 4    // it pays when one of so many samples is used
)

// Begin reports whether a group is to be read ahead, and makes the hash of one of its keys a sample.
func (a *Ahead) Begin(sample uint32) bool {
	if a.pause > 0 {
		a.pause--
		return false
	}
	// Before the sample counts: those of the last groups may not be used yet.
	if a.groups == aheadTrial {
		if a.used*aheadWorth < a.groups {
			a.pause = aheadPause
		}
		a.groups, a.used = 0, 0
	}
	a.samples[sample%16] = sample
	a.groups++
	return true
}

// Use notes that a key with this hash is looked up or written.
func (a *Ahead) Use(hash uint32) {
	if s := &a.samples[hash%16]; *s == hash {
		*s = 0
		a.used++
	}
}
