package store

import "bytes"

// Past is whether a scan of r that has come to key is at its end.
func (r Range) Past(key []byte) bool {
	if r.Backward {
		if r.From == nil {
			return false
		}
		c := bytes.Compare(key, r.From)
		return c < 0 || c == 0 && r.FromAfter
	}
	if r.To == nil {
		return false
	}
	c := bytes.Compare(key, r.To)
	return c > 0 || c == 0 && r.ToBefore
}

// Contains is whether a scan of r visits key.
func (r Range) Contains(key []byte) bool {
	other := r
	other.Backward = !r.Backward
	return !r.Past(key) && !other.Past(key)
}

// PrefixRange returns the range of all keys that start with p.
func PrefixRange(p []byte) Range {
	for n := len(p); n > 0; n-- {
		if p[n-1] != 0xff {
			to := bytes.Clone(p[:n])
			to[n-1]++
			return Range{From: p, To: to, ToBefore: true}
		}
	}
	return Range{From: p}
}
