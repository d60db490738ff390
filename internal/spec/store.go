package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// StoreOption is one choice of a user's about a store: store.Option.
type StoreOption struct {
	Name  string // as errors show it: "store.InMemory"
	Apply func(*StoreSettings) error
}

// StoreSettings are the choices about one store.
type StoreSettings struct {
	InMemory    bool
	NoChangelog bool
	OnDemand    bool
	UntilCommit bool
	Config      map[string]string // of the changelog topic
	Headers     bool              // rows have the headers of records
	Retention   time.Duration     // of window and session stores; 0: as long as their operator needs the rows
	// SourceIsChangelog restores the store from the topic that the table is read from.
	SourceIsChangelog bool
	Name              string        // replaces the step's name in the names of the stores; empty: it does not
	Shared            bool          // one store for both sides of a join
	Versions          time.Duration // the history retention of a versioned store; 0: the store has no versions
	Duplicates        bool          // of window stores: a put adds a row where others replace it
}

// The names of the options, as errors show them.
const (
	OptionInMemory    = "store.InMemory"
	OptionNoChangelog = "store.NoChangelog"
	OptionTopicConfig = "store.TopicConfig"
	OptionOnDemand    = "store.OnDemand"
	OptionRetention   = "store.Retention"
	OptionUntilCommit = "store.UntilCommit"
	OptionKeepHeaders = "store.KeepHeaders"

	OptionSourceIsChangelog = "store.SourceIsChangelog"
	OptionName              = "store.Name"
	OptionShared            = "store.Shared"
	OptionVersions          = "store.Versions"
	OptionDuplicates        = "store.Duplicates"
)

// ReadStoreOptions applies options. Its error has all mistakes: options that are zero, that do not
// apply here, and that contradict each other.
func ReadStoreOptions(options []StoreOption, allowed ...string) (StoreSettings, error) {
	var settings StoreSettings
	var errs []error
	for i, o := range options {
		switch {
		case o.Apply == nil:
			errs = append(errs, fmt.Errorf("option %d is zero; make options with the functions of package store", i+1))
		case !slices.Contains(allowed, o.Name):
			errs = append(errs, fmt.Errorf("option %s does not apply here; %s", o.Name, allowedList(allowed)))
		default:
			errs = append(errs, o.Apply(&settings))
		}
	}
	// Options that are fine each by itself, and contradict each other.
	if settings.NoChangelog && len(settings.Config) > 0 {
		errs = append(errs, fmt.Errorf("%s configures the changelog, but with %s there is none",
			OptionTopicConfig, OptionNoChangelog))
	}
	if settings.SourceIsChangelog && (settings.NoChangelog || len(settings.Config) > 0) {
		errs = append(errs, fmt.Errorf("with %s there is no changelog of its own: it excludes %s and %s",
			OptionSourceIsChangelog, OptionNoChangelog, OptionTopicConfig))
	}
	if settings.SourceIsChangelog && (settings.Headers || settings.Versions > 0) {
		errs = append(errs, fmt.Errorf("%s restores rows from a compacted topic, which has neither old versions nor stored "+
			"headers: it excludes %s and %s",
			OptionSourceIsChangelog, OptionKeepHeaders, OptionVersions))
	}
	if settings.OnDemand && settings.UntilCommit {
		errs = append(errs, fmt.Errorf("%s needs a store, which %s leaves out where no other step reads it",
			OptionUntilCommit, OptionOnDemand))
	}
	if settings.Versions > 0 && (settings.OnDemand || settings.UntilCommit || settings.SourceIsChangelog) {
		errs = append(errs, fmt.Errorf("%s excludes %s, %s and %s: a versioned store is always there, "+
			"sends each update, and has all versions in its changelog", OptionVersions, OptionOnDemand, OptionUntilCommit,
			OptionSourceIsChangelog))
	}
	return settings, errors.Join(errs...)
}

func allowedList(allowed []string) string {
	if len(allowed) == 0 {
		return "none does"
	}
	return strings.Join(allowed, ", ") + " do"
}

// StoreKind is what the rows of a store have besides a key.
type StoreKind uint8

// The kinds of stores.
const (
	KeyValueStore StoreKind = iota
	WindowStore
	SessionStore
	VersionedStore
)

// Store is a store as a reference names it.
type Store struct {
	Name  string
	Kind  StoreKind
	Plain bool          // rows have no times
	Size  time.Duration // of windows
	// Retention is that of the rows of all kinds but KeyValueStore.
	Retention time.Duration
	Settings  StoreSettings
	// KeyFormat and ValueFormat are the names of the serdes' formats; empty where they have none.
	KeyFormat, ValueFormat string

	Err error // mistakes in the arguments of the reference's constructor
	// Table is the *plan.Node of the table whose store it is; nil when the first step that uses the
	// reference makes the store.
	Table any
}

// StoreRef is embedded in the references of package store. Build reads through it what a reference
// of unknown types says of its store, and users do not find its methods in the documentation of
// that package.
type StoreRef struct{ store *Store }

// NewStoreRef returns what a reference to that store embeds.
func NewStoreRef(s *Store) StoreRef { return StoreRef{s} }

// DependencyName returns the name of the store, empty for a zero reference. It implements
// store.Dependency.
func (r StoreRef) DependencyName() string {
	if r.store == nil {
		return ""
	}
	return r.store.Name
}

// StoreSpec returns what the reference says of its store, nil for a zero reference.
func (r StoreRef) StoreSpec() *Store { return r.store }

// Reference is implemented by the references of package store, of all types. Outputs, the other
// dependencies of a step, do not implement it.
type Reference interface {
	StoreSpec() *Store
}
