package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/millstream-go/millstream/internal/storage"
)

// Prefix visits the rows whose keys start with p, in ascending order. The keys' serde must preserve
// prefixes, as serde.String and serde.Bytes do. With one that quotes its text, for example, Prefix
// returns an error.
func Prefix[K ~string | ~[]byte, V any](s ReadKeyValue[K, V], p K) iter.Seq2[Row[K, V], error] {
	return prefix(s, p, false)
}

// PrefixBackward is Prefix in descending order.
func PrefixBackward[K ~string | ~[]byte, V any](s ReadKeyValue[K, V], p K) iter.Seq2[Row[K, V], error] {
	return prefix(s, p, true)
}

// prefixScanner is implemented by the stores of this package. In ReadKeyValue it would be one more
// method that users' own stores had to have.
type prefixScanner[K, V any] interface {
	prefix(p, longer K, backward bool) iter.Seq2[Row[K, V], error]
}

func prefix[K ~string | ~[]byte, V any](s ReadKeyValue[K, V], p K, backward bool) iter.Seq2[Row[K, V], error] {
	if s, ok := s.(prefixScanner[K, V]); ok {
		return s.prefix(p, K(string(p)+"a"), backward)
	}
	return func(yield func(Row[K, V], error) bool) {
		yield(Row[K, V]{}, fmt.Errorf("store: Prefix reads stores opened by references of package store, not a %T", s))
	}
}

// prefix visits the rows whose encoded keys start with that of p. longer is p and more: its
// encoding shows whether the serde preserves prefixes.
func (s *keyValue[K, V]) prefix(p, longer K, backward bool) iter.Seq2[Row[K, V], error] {
	if s.err != nil {
		return errorSeq[Row[K, V]](s.err)
	}
	from, err := s.key.EncodeNew(p)
	if err != nil {
		return errorSeq[Row[K, V]](s.wrap("encode the prefix", from, err))
	}
	if l, err := s.key.EncodeNew(longer); err == nil && !bytes.HasPrefix(l, from) {
		return errorSeq[Row[K, V]](s.wrap("scan a prefix", from,
			errors.New("the serde of the keys does not preserve prefixes")))
	}
	r := storage.PrefixRange(from)
	r.Backward = backward
	return s.scan(r)
}
