package plan

import (
	"errors"
	"fmt"
	"maps"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/store"
)

// Use makes the store that a reference names available to the current step, and returns its name for graph.Node.Stores: the first
// step that uses a reference makes its store; a table's is there already.
func (c *Compile) Use(s *storespec.Spec) (string, error) {
	switch {
	case s == nil:
		return "", errors.New("a reference to a store is zero; make it with store.NewKeyValue or take it from a table")
	case s.Err != nil:
		return "", fmt.Errorf("store %q: %w", s.Name, s.Err)
	case s.Table != nil:
		return s.Name, c.tableStore(s)
	case c.used[s.Name] == s:
		return s.Name, nil
	}
	if err := c.Store(newUsed(s)); err != nil {
		return "", err
	}
	c.used[s.Name] = s
	return s.Name, nil
}

func (c *Compile) tableStore(s *storespec.Spec) error {
	n, ok := s.Table.(*Node)
	switch {
	case !ok || n == nil || n.Table == nil:
		return errors.New("a reference to a table's store was taken from a zero table")
	case n.b != c.at.b:
		return fmt.Errorf("the table of store %q belongs to another builder", s.Name)
	case n.Table.Store == "" || c.FindStore(n.Table.Store) == nil:
		return fmt.Errorf("the table made by %s at %s keeps no store; keep one with table.Materialize, or without store.OnDemand", n.Op, n.pos)
	}
	if has := refersTo[c.FindStore(n.Table.Store).Kind]; has != refersTo[kindOf(s)] {
		return fmt.Errorf("the table made by %s at %s keeps a store of another kind; refer to it with %s", n.Op, n.pos, has)
	}
	return nil
}

// refersTo is how the stores of tables are referred to.
var refersTo = map[graph.StoreKind]string{
	graph.Timestamped: "KTable.Store", graph.Plain: "KTable.Store",
	graph.Window: "table.WindowStore", graph.Session: "table.SessionStore", graph.Versioned: "table.VersionedStore",
}

// Uses is Use for the references among deps; the others are outputs.
func (c *Compile) Uses(deps []store.Dep) (stores []string, err error) {
	var errs []error
	for _, d := range deps {
		r, ok := d.(interface{ Spec() *storespec.Spec })
		if !ok {
			continue
		}
		name, err := c.Use(r.Spec())
		if errs = append(errs, err); err == nil {
			stores = append(stores, name)
		}
	}
	return stores, errors.Join(errs...)
}

// AddStore makes the timestamped store of the current step's table.
func (c *Compile) AddStore(name string, s storespec.Settings) error {
	return c.Store(newStore(name, graph.Timestamped, s))
}

// AddStoreOf makes a store of another kind for the current step: shape says its name, kind and times, s what the user chose.
func (c *Compile) AddStoreOf(shape graph.Store, s storespec.Settings) error {
	shape.KeepHeaders = s.Headers
	shape.InMemory, shape.Changelog, shape.Config = s.InMemory, !s.NoChangelog, maps.Clone(s.Config)
	return c.Store(&shape)
}

func kindOf(s *storespec.Spec) graph.StoreKind {
	switch {
	case s.Layout == storespec.Window:
		return graph.Window
	case s.Layout == storespec.Session:
		return graph.Session
	case s.Layout == storespec.Versioned:
		return graph.Versioned
	case s.Plain:
		return graph.Plain
	}
	return graph.Timestamped
}

// newUsed returns the store that a reference of a user's describes.
func newUsed(s *storespec.Spec) *graph.Store {
	g := newStore(s.Name, kindOf(s), s.Settings)
	g.Size, g.Retention, g.Duplicates = s.Size, s.Retention, s.Settings.Duplicates
	return g
}

func newStore(name string, kind graph.StoreKind, s storespec.Settings) *graph.Store {
	return &graph.Store{
		Name: name, Kind: kind, KeepHeaders: s.Headers, InMemory: s.InMemory, Changelog: !s.NoChangelog && !s.SourceIsChangelog, Config: maps.Clone(s.Config),
	}
}
