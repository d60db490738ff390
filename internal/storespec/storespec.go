// Package storespec is what the options and references of package store say about a store, for the plan to read. It is apart from
// them since the plan imports package store and users must not see it.
package storespec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Option is one choice of a user's about a store.
type Option struct {
	Name  string // "store.InMemory"
	Apply func(*Settings) error
}

// Settings are the choices about one store.
type Settings struct {
	InMemory    bool
	NoChangelog bool
	OnDemand    bool
	UntilCommit bool
	Config      map[string]string // of the changelog topic
	Headers     bool              // rows keep the headers of records
	Retention   time.Duration     // how long rows of window and session stores are kept; 0: as long as their operator needs
	// SourceIsChangelog has the store restored from the topic that it is read from.
	SourceIsChangelog bool
	Name              string        // that the stores' names begin with; empty: the step's
	Shared            bool          // one store for both sides of a join
	Versions          time.Duration // how far back versions of rows are kept; 0: there are none
	Duplicates        bool          // of window stores: all that is put for one key and start is kept
}

// The names of the options, as errors say them.
const (
	InMemory    = "store.InMemory"
	NoChangelog = "store.NoChangelog"
	TopicConfig = "store.TopicConfig"
	OnDemand    = "store.OnDemand"
	Retention   = "store.Retention"
	UntilCommit = "store.UntilCommit"
	Headers     = "store.KeepHeaders"

	SourceIsChangelog = "store.SourceIsChangelog"
	Name              = "store.Name"
	Shared            = "store.Shared"
	Versions          = "store.Versions"
	Duplicates        = "store.Duplicates"
)

// Read applies options and says which of them are wrong here: zero ones, those that do not apply, and those that contradict
// another.
func Read(options []Option, allowed ...string) (Settings, error) {
	var s Settings
	var errs []error
	for i, o := range options {
		switch {
		case o.Apply == nil:
			errs = append(errs, fmt.Errorf("option %d is zero; make options with the functions of package store", i+1))
		case !slices.Contains(allowed, o.Name):
			errs = append(errs, fmt.Errorf("option %s does not apply here; %s", o.Name, these(allowed)))
		default:
			errs = append(errs, o.Apply(&s))
		}
	}
	if s.NoChangelog && len(s.Config) > 0 {
		errs = append(errs, fmt.Errorf("%s configures the changelog that %s does away with", TopicConfig, NoChangelog))
	}
	if s.SourceIsChangelog && (s.NoChangelog || len(s.Config) > 0) {
		errs = append(errs, fmt.Errorf("%s does away with the changelog: %s and %s do not go with it", SourceIsChangelog, NoChangelog, TopicConfig))
	}
	if s.SourceIsChangelog && (s.Headers || s.Versions > 0) {
		errs = append(errs, fmt.Errorf("%s restores rows from records that are compacted: %s and %s do not go with it", SourceIsChangelog, Headers, Versions))
	}
	if s.OnDemand && s.UntilCommit {
		errs = append(errs, fmt.Errorf("%s needs the store that %s may do without", UntilCommit, OnDemand))
	}
	if s.Versions > 0 && (s.OnDemand || s.UntilCommit || s.SourceIsChangelog) {
		errs = append(errs, fmt.Errorf("%s goes with none of %s, %s and %s: a store of versions is always kept, sends each update, and has all of them in its changelog",
			Versions, OnDemand, UntilCommit, SourceIsChangelog))
	}
	return s, errors.Join(errs...)
}

func these(allowed []string) string {
	if len(allowed) == 0 {
		return "none does"
	}
	return strings.Join(allowed, ", ") + " do"
}

// Layout is what the rows of a store have besides a key.
type Layout uint8

// The layouts.
const (
	KeyValue Layout = iota
	Window
	Session
	Versioned
)

// Spec is a store as a reference names it.
type Spec struct {
	Name   string
	Plain  bool // rows keep no times
	Layout Layout
	Size   time.Duration // of windows
	// Retention is how long rows of other layouts than KeyValue are kept.
	Retention time.Duration
	Settings  Settings
	Err       error // mistakes in what was given to make the reference
	// Table is the *plan.Node of the table whose store it is; nil when the first step that uses the reference makes the store.
	Table any
}
