package store

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
)

// Dependency is what a processor uses besides its input: a store, by a reference of this package,
// or an output of package stream. The references and outputs that a processor opens are listed
// where the processor is made, so that Build knows them.
type Dependency interface {
	// DependencyName returns the name of the store or output.
	DependencyName() string
}

// storeRef has the methods that all references share. Under this name go doc leaves them out: they
// are for Build.
type storeRef = spec.StoreRef

// serdes return the serdes of a reference. Those of a table's store are only known when the
// topology has been built.
type serdes[K, V any] struct {
	key   func() (serde.Serde[K], error)
	value func() (serde.Serde[V], error)
}

// newSpec reads the arguments that the constructors of all references have. more are the options
// that apply besides those of every store.
func newSpec[K, V any](
	kind spec.StoreKind, name string, key serde.Serde[K], value serde.Serde[V], opts []Option, more ...string,
) (*spec.Store, serdes[K, V]) {
	resolved := serdes[K, V]{spec.Resolve(key), spec.Resolve(value)}
	if table := spec.TableOf(key); table != nil {
		return &spec.Store{Name: name, Kind: kind, Table: table}, resolved
	}
	// Mistakes are collected for Build, which reports them with those of the whole topology: a
	// constructor has no error to return.
	s := &spec.Store{Name: name, Kind: kind, KeyFormat: codec.FormatName(key), ValueFormat: codec.FormatName(value)}
	s.Settings, s.Err = spec.ReadStoreOptions(opts,
		append(more, spec.OptionInMemory, spec.OptionNoChangelog, spec.OptionTopicConfig, spec.OptionKeepHeaders)...)
	if key == nil {
		addError(s, errors.New("the store has no serde for its keys"))
	}
	if value == nil {
		addError(s, errors.New("the store has no serde for its values"))
	}
	return s, resolved
}

// addError adds a mistake that Build reports with the others of the topology.
func addError(s *spec.Store, err error) { s.Err = errors.Join(s.Err, err) }

func errNilOpener(store string) error {
	return fmt.Errorf("store %q: it is opened with nil, not with a context, a driver or an App", store)
}

// storeErrors is the name of a store. Its methods say in errors which store and key they are about.
type storeErrors string

// wrap names the key, unless there is none, as when a scan fails between two rows.
func (name storeErrors) wrap(what string, key []byte, err error) error {
	if key == nil {
		return fmt.Errorf("store %q: %s: %w", string(name), what, err)
	}
	return fmt.Errorf("store %q, key %s: %s: %w", string(name), quote.Key(key), what, err)
}

func (name storeErrors) wrapOpen(err error) error {
	return fmt.Errorf("store %q: %w", string(name), err)
}

func (name storeErrors) wrapKey(err error) error {
	return fmt.Errorf("store %q: encode the key: %w", string(name), err)
}
