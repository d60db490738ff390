package plan

import (
	"errors"
	"fmt"
	"maps"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/store"
)

// UseStore makes the store of a reference available to the current step, and returns its name for
// graph.Node.Stores. The first step that uses a reference makes its store. A table's store exists
// already.
func (c *Compiler) UseStore(ref *spec.Store) (string, error) {
	switch {
	case ref == nil:
		return "", errors.New("a reference to a store is zero; make it with store.NewKeyValue or get it from a table")
	case ref.Err != nil:
		return "", fmt.Errorf("store %q: %w", ref.Name, ref.Err)
	case ref.Table != nil:
		return ref.Name, c.checkTableStore(ref)
	case c.usedRefs[ref.Name] == ref:
		return ref.Name, nil
	}
	if err := c.RegisterStore(newReferencedStore(ref)); err != nil {
		return "", err
	}
	c.usedRefs[ref.Name] = ref
	return ref.Name, nil
}

func (c *Compiler) checkTableStore(ref *spec.Store) error {
	n, ok := ref.Table.(*Node)
	switch {
	case !ok || n == nil || n.Table == nil:
		return errors.New("a reference to a table's store was made from the zero table")
	case n.builder != c.current.builder:
		return fmt.Errorf("the table of store %q belongs to another builder", ref.Name)
	case n.Table.Store == "" || c.FindStore(n.Table.Store) == nil:
		return fmt.Errorf(
			"the table made by %s at %s has no store; make one with table.Materialize, or leave out store.OnDemand", n.Op, n.pos,
		)
	}
	if method := referenceFuncs[c.FindStore(n.Table.Store).Kind]; method != referenceFuncs[storeKind(ref)] {
		return fmt.Errorf(
			"the table made by %s at %s has a store of another kind; refer to it with %s", n.Op, n.pos, method,
		)
	}
	return nil
}

// referenceFuncs names the functions that refer to the stores of tables.
var referenceFuncs = map[graph.StoreKind]string{
	graph.Timestamped: "KTable.Store", graph.Plain: "KTable.Store",
	graph.Window: "table.WindowStore", graph.Session: "table.SessionStore", graph.Versioned: "table.VersionedStore",
}

// UseStores is UseStore for the references among deps; the others are outputs.
func (c *Compiler) UseStores(deps []store.Dependency) (stores []string, err error) {
	var errs []error
	for _, dep := range deps {
		ref, ok := dep.(spec.Reference)
		if !ok {
			continue
		}
		name, err := c.UseStore(ref.StoreSpec())
		if errs = append(errs, err); err == nil {
			stores = append(stores, name)
		}
	}
	return stores, errors.Join(errs...)
}

// AddTimestampedStore adds the timestamped store of the current step's table.
func (c *Compiler) AddTimestampedStore(name string, s spec.StoreSettings) error {
	return c.RegisterStore(newStore(name, graph.Timestamped, s))
}

// AddStoreOfKind adds a store of another kind for the current step. shape has its name, kind and
// times, s what the user chose.
func (c *Compiler) AddStoreOfKind(shape graph.Store, s spec.StoreSettings) error {
	shape.KeepHeaders = s.Headers
	shape.InMemory, shape.Changelog, shape.Config = s.InMemory, !s.NoChangelog, maps.Clone(s.Config)
	return c.RegisterStore(&shape)
}

// SetRowFormat records how the rows of a store are written: by the serdes of their keys and values,
// and, where the store's kind does not tell, in what format. A start compares it with what the
// committed offsets remember of the store.
func (c *Compiler) SetRowFormat(store, format string, key, value any) {
	if s := c.FindStore(store); s != nil {
		s.Format, s.KeyFormat, s.ValueFormat = format, codec.FormatName(key), codec.FormatName(value)
	}
}

func storeKind(ref *spec.Store) graph.StoreKind {
	switch {
	case ref.Kind == spec.WindowStore:
		return graph.Window
	case ref.Kind == spec.SessionStore:
		return graph.Session
	case ref.Kind == spec.VersionedStore:
		return graph.Versioned
	case ref.Plain:
		return graph.Plain
	}
	return graph.Timestamped
}

// newReferencedStore returns the store that a user's reference describes.
func newReferencedStore(s *spec.Store) *graph.Store {
	g := newStore(s.Name, storeKind(s), s.Settings)
	g.Size, g.Retention, g.Duplicates = s.Size, s.Retention, s.Settings.Duplicates
	g.KeyFormat, g.ValueFormat = s.KeyFormat, s.ValueFormat
	return g
}

func newStore(name string, kind graph.StoreKind, s spec.StoreSettings) *graph.Store {
	return &graph.Store{
		Name: name, Kind: kind, KeepHeaders: s.Headers, InMemory: s.InMemory,
		Changelog: !s.NoChangelog && !s.SourceIsChangelog, Config: maps.Clone(s.Config),
	}
}
