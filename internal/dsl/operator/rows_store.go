package operator

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/serde"
)

// storeRows is what the rows of all kinds of stores have in common.
type storeRows[K, V any] struct {
	name       string
	setHeaders func(storage.Headers) // nil: the store has no headers
	key        *codec.Codec[K]
	value      *codec.Codec[V]
	try        retry.Func

	keyBytes []byte // the encoded key of the last setKey
}

// openStoreRows opens rows. bytes is the store.
func openStoreRows[K, V any](
	name string, bytes any, key serde.Serde[K], value serde.Serde[V], try retry.Func,
) (storeRows[K, V], error) {
	keys, values, err := newSerdes(name, key, value, try)
	return storeRows[K, V]{name: name, setHeaders: storage.HeaderSetter(bytes), key: keys, value: values, try: try}, err
}

// newSerdes returns the serdes of a store's keys and values.
func newSerdes[K, A any](
	name string, key serde.Serde[K], value serde.Serde[A], try retry.Func,
) (*codec.Codec[K], *codec.Codec[A], error) {
	k, err := codec.New(key, name, true, try)
	if err != nil {
		return nil, nil, fmt.Errorf("store %q: keys: %w", name, err)
	}
	v, err := codec.New(value, name, false, try)
	if err != nil {
		return nil, nil, fmt.Errorf("store %q: values: %w", name, err)
	}
	return k, v, nil
}

// SetHeaders sets the headers of the rows that are saved from now on, in a store that has headers.
func (r *storeRows[K, V]) SetHeaders(h storage.Headers) {
	if r.setHeaders != nil {
		r.setHeaders(h)
	}
}

// setKey sets the key that the following calls refer to.
func (r *storeRows[K, V]) setKey(k K) (err error) {
	r.keyBytes, err = r.key.Encode(k)
	return err
}

// wrap adds to an error which row it was.
func (r *storeRows[K, V]) wrap(what string, err error) error {
	return keyError(r.name, r.keyBytes, what, err)
}
