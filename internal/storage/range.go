package storage

import "bytes"

// Range is the keys that a scan visits, and its direction. The zero Range is all keys, ascending.
type Range struct {
	From, To            []byte // nil: no bound
	FromAfter, ToBefore bool   // the bound itself is not part of the range
	Backward            bool
	// Series is the length of the prefix of a series that the scan is of: From and To both begin with it
	// and have a number behind it. 0: the scan is of any keys. Engines that know of no series ignore it.
	Series int
}

// Past reports whether a scan of r that has come to key is at its end.
func (r Range) Past(key []byte) bool {
	if r.Backward {
		if r.From == nil {
			return false
		}
		order := bytes.Compare(key, r.From)
		return order < 0 || order == 0 && r.FromAfter
	}
	if r.To == nil {
		return false
	}
	order := bytes.Compare(key, r.To)
	return order > 0 || order == 0 && r.ToBefore
}

// Behind returns the rest of r for a scan that has visited key. The result refers to key. A nil key
// is that of a scan that has not begun.
func (r Range) Behind(key []byte) Range {
	switch {
	case key == nil:
	case r.Backward:
		r.To, r.ToBefore = key, true
	default:
		r.From, r.FromAfter = key, true
	}
	return r
}

// Contains reports whether a scan of r visits key.
func (r Range) Contains(key []byte) bool {
	other := r
	other.Backward = !r.Backward
	return !r.Past(key) && !other.Past(key)
}

// PrefixRange returns the range of all keys that start with prefix.
func PrefixRange(prefix []byte) Range {
	// The upper bound is the prefix with its last byte one higher. Bytes 0xff have no higher one, so
	// they are dropped; a prefix of nothing else has no upper bound.
	for n := len(prefix); n > 0; n-- {
		if prefix[n-1] != 0xff {
			to := bytes.Clone(prefix[:n])
			to[n-1]++
			return Range{From: prefix, To: to, ToBefore: true}
		}
	}
	return Range{From: prefix}
}
