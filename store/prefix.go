package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
)

// Prefix visits the rows whose keys start with p, in ascending order. The keys' serde must keep prefixes, as serde.String and
// serde.Bytes do: one that, say, quotes its text gives an error.
func Prefix[K ~string | ~[]byte, V any](s ReadKeyValue[K, V], p K) iter.Seq2[Row[K, V], error] {
	return prefix(s, p, false)
}

// PrefixBackward is Prefix in descending order.
func PrefixBackward[K ~string | ~[]byte, V any](s ReadKeyValue[K, V], p K) iter.Seq2[Row[K, V], error] {
	return prefix(s, p, true)
}

// prefixed is what the stores of this package do for Prefix: in an interface of user-made stores it would be one method more.
type prefixed[K, V any] interface {
	prefix(p, longer K, backward bool) iter.Seq2[Row[K, V], error]
}

func prefix[K ~string | ~[]byte, V any](s ReadKeyValue[K, V], p K, backward bool) iter.Seq2[Row[K, V], error] {
	if s, ok := s.(prefixed[K, V]); ok {
		return s.prefix(p, K(string(p)+"a"), backward)
	}
	return func(yield func(Row[K, V], error) bool) {
		yield(Row[K, V]{}, fmt.Errorf("store: Prefix reads stores opened by references of package store, not a %T", s))
	}
}

// prefix visits the rows whose encoded keys start with that of p. longer is p and something more: its encoding shows whether the
// serde keeps prefixes.
func (s *keyValue[K, V]) prefix(p, longer K, backward bool) iter.Seq2[Row[K, V], error] {
	if s.err != nil {
		return s.failing(s.err)
	}
	from, err := s.key.Fresh(p)
	if err != nil {
		return s.failing(s.wrap("encode the prefix", from, err))
	}
	if l, err := s.key.Fresh(longer); err == nil && !bytes.HasPrefix(l, from) {
		return s.failing(s.wrap("scan a prefix", from, errors.New("the serde of the keys keeps no prefixes")))
	}
	r := PrefixRange(from)
	r.Backward = backward
	return s.scan(r)
}
