package memory

import (
	"bytes"
	"slices"
)

// radixFrom is how many entries are sorted by their digits; fewer are compared.
const radixFrom = 512

// sort sorts entries by key. A flush sorts each memtable once, and comparing costs it more than anything else that is ours; so many
// are sorted by the eight digits of their prefixes, least first, which takes memory for a copy, and compared only where these are equal.
func (o *order) sort(all []sorted) {
	if len(all) < radixFrom {
		slices.SortFunc(all, o.compareEntries)
		return
	}
	byDigits(all)
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].prefix == all[i].prefix {
			j++
		}
		if j-i > 1 {
			slices.SortFunc(all[i:j], o.compareEntries)
		}
		i = j
	}
}

func (o *order) compareEntries(a, b sorted) int {
	if a.prefix != b.prefix {
		if a.prefix < b.prefix {
			return -1
		}
		return 1
	}
	return bytes.Compare(o.key(a.ref), o.key(b.ref))
}

// byDigits sorts by prefix.
func byDigits(all []sorted) {
	var starts [8][256]int
	for i := range all {
		for d, p := 0, all[i].prefix; d < 8; d, p = d+1, p>>8 {
			starts[d][byte(p)]++
		}
	}
	from, to := all, make([]sorted, len(all))
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
	if &from[0] != &all[0] {
		copy(all, from)
	}
}
