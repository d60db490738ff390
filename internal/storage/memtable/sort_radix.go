package memtable

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// radixFrom is from how many entries on they are sorted by radix.
const radixFrom = 512

// tiedFrom is from how many entries with one prefix on they are sorted by the bytes that follow.
const tiedFrom = 16

// sortByKey sorts entries by key. A flush sorts each memtable once, and comparing keys is what
// costs it most of all that this package does. So many entries are sorted by the eight bytes of
// their prefixes, which needs memory for a copy. Those with one prefix are sorted by the next eight
// bytes, and so on: in a store of windows all keys of a segment may have the same prefix.
func sortByKey(all []sortEntry, keyOf func(ref) []byte) { (&sorter{keyOf: keyOf}).sort(all) }

// A sorter is sortByKey for callers that sort often.
type sorter struct {
	keyOf func(ref) []byte
	spare []sortEntry // memory for a copy
}

func (x *sorter) sort(all []sortEntry) { x.sortFrom(all, -1) }

// sortFrom sorts entries whose keys have at least common bytes in common; -1: nothing is known.
func (x *sorter) sortFrom(all []sortEntry, common int) {
	if len(all) < radixFrom {
		slices.SortFunc(all, func(a, b sortEntry) int {
			if a.prefix != b.prefix {
				return cmp.Compare(a.prefix, b.prefix)
			}
			return bytes.Compare(x.keyOf(a.ref), x.keyOf(b.ref))
		})
		return
	}
	if cap(x.spare) < len(all) {
		x.spare = make([]sortEntry, len(all))
	}
	radixSort(all, x.spare[:len(all)])
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].prefix == all[i].prefix {
			j++
		}
		if j-i > 1 {
			x.sortTied(all[i:j], common)
		}
		i = j
	}
}

// sortTied sorts entries with one prefix, which they have afterwards too.
func (x *sorter) sortTied(tied []sortEntry, common int) {
	prefix, n := tied[0].prefix, -1
	if len(tied) >= tiedFrom {
		n = commonLenOf(tied, x.keyOf)
	}
	// Where keys have no more in common than before, one ends there, and zeros stand for what it lacks:
	// prefixes would not tell it from keys that go on with zeros.
	if n <= common {
		slices.SortFunc(tied, func(a, b sortEntry) int { return bytes.Compare(x.keyOf(a.ref), x.keyOf(b.ref)) })
		return
	}
	for i := range tied {
		tied[i].prefix = digitsOf(x.keyOf(tied[i].ref)[n:])
	}
	x.sortFrom(tied, n)
	for i := range tied {
		tied[i].prefix = prefix
	}
}

// commonLenOf returns how many bytes the keys of all entries have in common.
func commonLenOf(all []sortEntry, keyOf func(ref) []byte) int {
	first := keyOf(all[0].ref)
	n := len(first)
	for i := range all {
		key := keyOf(all[i].ref)
		if len(key) < n || !bytes.Equal(key[:n], first[:n]) {
			n = commonLen(first[:n], key)
		}
	}
	return n
}

// digitsOf returns the first eight bytes of key as a number; zeros stand for those that it lacks.
func digitsOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// radixSort sorts by prefix, byte by byte from the least significant one. spare is as long as all.
func radixSort(all, spare []sortEntry) {
	var starts [8][256]int
	for i := range all {
		for d, p := 0, all[i].prefix; d < 8; d, p = d+1, p>>8 {
			starts[d][byte(p)]++
		}
	}
	from, to := all, spare
	for d := range starts {
		at, shift := &starts[d], 8*d
		if at[byte(all[0].prefix>>shift)] == len(all) {
			continue // all have the same digit
		}
		sum := 0
		for i, n := range at {
			at[i] = sum
			sum += n
		}
		for _, e := range from {
			digit := byte(e.prefix >> shift)
			to[at[digit]] = e
			at[digit]++
		}
		from, to = to, from
	}
	if &from[0] != &all[0] { // an odd number of rounds
		copy(all, from)
	}
}
