package memtable

import (
	"bytes"
	"slices"
)

// sortAll returns all entries in the order of their keys, for a walk that is the only one to need it. A table
// that is scanned has an order, whose leaves can be searched and changed. To make one for a flush would take
// longer, and its memory would stay until the table is released.
//
// Keys are sorted by eight of their bytes at a time. Those of a store have most of their bytes in common: a
// segment, the leading zeros of numbers, the end of an escaped key. So the eight are chosen among the bytes in
// which keys differ, and nearly all keys of a store of numbers or windows are in order after one round.
func (t *Table) sortAll() []sortEntry {
	keyOf := func(r ref) []byte { return t.at(r).key() }
	d := t.sampleDigits()
	all := make([]sortEntry, 0, t.index.count)
	var others []ref
	touched := byte(0)
	// Each part is read twice, as in order.build.
	for part := range slices.Chunk(t.index.slots, 64) {
		for _, s := range part {
			if s != 0 {
				touched ^= t.arena.bytes(ref(s))[entryHead]
			}
		}
		for _, s := range part {
			if s == 0 {
				continue
			}
			if digits, ok := d.of(keyOf(ref(s))); ok {
				all = append(all, sortEntry{digits, ref(s)})
			} else {
				others = append(others, ref(s))
			}
		}
	}
	d.touched = touched // else the reads would be optimised away
	sortByKey(all, keyOf)
	return mergeOthers(all, others, keyOf)
}

// mergeOthers adds entries to those that are in order. It uses the memory of all. Few are expected: where the
// sample was a bad one, most of the work is done here, which is a sort by comparisons.
func mergeOthers(all []sortEntry, others []ref, keyOf func(ref) []byte) []sortEntry {
	slices.SortFunc(others, func(a, b ref) int { return bytes.Compare(keyOf(a), keyOf(b)) })
	n := len(all)
	all = slices.Grow(all, len(others))[:n+len(others)]
	// From the end on: what is moved up leaves room for the next one.
	for i := len(others) - 1; i >= 0; i-- {
		key := keyOf(others[i])
		at, _ := slices.BinarySearchFunc(all[:n], key, func(e sortEntry, key []byte) int {
			return bytes.Compare(keyOf(e.ref), key)
		})
		copy(all[at+i+1:], all[at:n])
		all[at+i].ref = others[i]
		n = at
	}
	return all
}

// keyDigits makes numbers of keys that never descend when keys ascend: up to eight of their bytes, between
// which all keys have the bytes of the first one.
type keyDigits struct {
	first    []byte
	at       []int // where the bytes are, ascending
	adjacent bool  // they follow one another
	touched  byte
}

const (
	// sampledKeys is how many keys say which bytes differ. A byte that differs in fewer than one key in a few
	// hundred may be taken for one that does not: those keys are sorted apart.
	sampledKeys = 1024
	// keysApart is how many of them have to be told apart. The one byte more tells many more keys apart.
	keysApart = 256
	// longestDigits is how far from the start of a key its digits are at most.
	longestDigits = 64
)

// sampleDigits chooses digits for the keys of the table. Slots are in the order of hashes, so the first keys in
// them are any keys.
func (t *Table) sampleDigits() *keyDigits {
	var keys [][]byte
	for _, s := range t.index.slots {
		if s != 0 {
			keys = append(keys, t.at(ref(s)).key())
		}
		if len(keys) == sampledKeys {
			break
		}
	}
	return digitsFor(keys)
}

// digitsFor chooses digits for keys like those of a sample: the bytes that differ, up to one more than tell
// some of its keys apart, since each is a round of the sort.
func digitsFor(keys [][]byte) *keyDigits {
	d := &keyDigits{}
	for _, key := range keys {
		if len(key) > len(d.first) {
			d.first = key
		}
	}
	var differ [longestDigits]byte
	for _, key := range keys {
		for i := range min(len(key), longestDigits) {
			differ[i] |= key[i] ^ d.first[i]
		}
	}
	apart := false
	for i := 0; i < longestDigits && len(d.at) < 8; i++ {
		if differ[i] == 0 {
			continue
		}
		d.at = append(d.at, i)
		if apart {
			break
		}
		apart = d.tellApart(keys[:min(len(keys), keysApart)])
	}
	n := len(d.at)
	d.adjacent = n > 0 && d.at[n-1]-d.at[0] == n-1
	return d
}

// tellApart reports whether all keys have numbers of their own.
func (d *keyDigits) tellApart(keys [][]byte) bool {
	numbers := make([]uint64, len(keys))
	for i, key := range keys {
		numbers[i], _ = d.of(key)
	}
	slices.Sort(numbers)
	for i := 1; i < len(numbers); i++ {
		if numbers[i] == numbers[i-1] {
			return false
		}
	}
	return true
}

// of returns the number of a key; ok is false for a key that the digits are not for. Zeros stand for bytes that
// it lacks, as in digitsOf.
func (d *keyDigits) of(key []byte) (digits uint64, ok bool) {
	if d.adjacent {
		before := min(d.at[0], len(key))
		if string(key[:before]) != string(d.first[:before]) {
			return 0, false
		}
		return digitsOf(key[before:]) >> (64 - 8*len(d.at)), true
	}
	from := 0
	for _, at := range d.at {
		if at > from && from < len(key) {
			to := min(at, len(key))
			if string(key[from:to]) != string(d.first[from:to]) {
				return 0, false
			}
		}
		digits <<= 8
		if at < len(key) {
			digits |= uint64(key[at])
		}
		from = at + 1
	}
	return digits, true
}
