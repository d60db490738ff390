package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/storespec"
)

// Option is a choice about one store: where it is kept, and how its changelog is configured. An option that does not apply to the
// step it is given to is an error of Build.
type Option = storespec.Option

// InMemory keeps the store in memory only. It is restored from its changelog at every start. Without it the store is on disk, with
// its latest part in memory.
func InMemory() Option {
	return Option{Name: storespec.InMemory, Apply: func(s *storespec.Settings) error {
		s.InMemory = true
		return nil
	}}
}

// NoChangelog keeps no changelog: what the store holds is lost with its machine, and stays behind when its partition moves to
// another one. Without it every store has a compacted topic <application>-<store>-changelog.
func NoChangelog() Option {
	return Option{Name: storespec.NoChangelog, Apply: func(s *storespec.Settings) error {
		s.NoChangelog = true
		return nil
	}}
}

// TopicConfig sets a configuration entry of the changelog topic, such as "min.insync.replicas", for when it is created.
func TopicConfig(key, value string) Option {
	return Option{Name: storespec.TopicConfig, Apply: func(s *storespec.Settings) error {
		if key == "" {
			return errors.New("store.TopicConfig has no key")
		}
		if old, ok := s.Config[key]; ok && old != value {
			return fmt.Errorf("store.TopicConfig sets %q twice: %q and %q", key, old, value)
		}
		if s.Config == nil {
			s.Config = map[string]string{}
		}
		s.Config[key] = value
		return nil
	}}
}

// OnDemand has table.From and table.ToTable keep a store only if a step that follows needs the table's rows or their old values,
// such as a join. What is emitted differs a little without a store: a filter that follows cannot know whether it has passed a row
// before, so it sends a tombstone for every update that fails it.
func OnDemand() Option {
	return Option{Name: storespec.OnDemand, Apply: func(s *storespec.Settings) error {
		s.OnDemand = true
		return nil
	}}
}

// Retention keeps the windows of an aggregation for at least d of stream time after they began, sessions after they ended, so that they can
// be read. Without it they are kept as long as records may change them: their length and their grace period, which d must not
// be less than. What is sent does not depend on it.
func Retention(d time.Duration) Option {
	return Option{Name: storespec.Retention, Apply: func(s *storespec.Settings) error {
		switch {
		case d <= 0:
			return fmt.Errorf("store.Retention is %v; it must be greater than 0", d)
		case d%time.Millisecond != 0:
			return fmt.Errorf("store.Retention is %v, which is no whole number of milliseconds", d)
		case s.Retention != 0 && s.Retention != d:
			return fmt.Errorf("store.Retention is given twice: %v and %v", s.Retention, d)
		}
		s.Retention = d
		return nil
	}}
}

// SourceIsChangelog has table.From keep no changelog of its own: the topic that the table is read from is its changelog, and the store is
// restored from it, up to what was committed. It saves a copy of the topic and every write to it. The topic must be compacted and nothing
// else (cleanup.policy=compact), which is checked at the start: what is deleted from it is not restored. Kafka Streams calls this
// topology.optimization=reuse.ktable.source.topics.
func SourceIsChangelog() Option {
	return Option{Name: storespec.SourceIsChangelog, Apply: func(s *storespec.Settings) error {
		s.SourceIsChangelog = true
		return nil
	}}
}

// UntilCommit has a table send one update a key and commit instead of each: the newest value, with the time and the headers of the record
// that led to it, and as old value what was sent last. A row that comes and goes between two commits is not sent at all. Keys are sent in the
// order in which they were written last. The store itself has every update at once, and so have joins and queries that read it.
//
// What is held back takes memory for each key that changed; where that comes to more than 4 MB for a partition of the store, all of it is sent
// early. What was held back in a crash was not committed, and its records are processed again. At least once, a process that dies in the
// middle of a commit may leave a row's deletion in the changelog that was not sent; it is none any more when the record comes again, and is not sent
// then either, as with filters of stored tables, and as in Kafka Streams.
func UntilCommit() Option {
	return Option{Name: storespec.UntilCommit, Apply: func(s *storespec.Settings) error {
		s.UntilCommit = true
		return nil
	}}
}

// Name calls a table's store name, or the stores of a join after name, where they would be called after the step. Repartition topics keep the
// step's name. It is for taking over the state of a Kafka Streams application whose Materialized or StreamJoined gave stores another name than
// Grouped or StreamJoined gave topics.
func Name(name string) Option {
	return Option{Name: storespec.Name, Apply: func(s *storespec.Settings) error {
		if name == "" {
			return errors.New("store.Name has no name")
		}
		if s.Name != "" && s.Name != name {
			return fmt.Errorf("store.Name is given twice: %q and %q", s.Name, name)
		}
		s.Name = name
		return nil
	}}
}

// Shared has a stream that is joined with itself keep its records once, in one store for both sides: half the state and half the
// changelog. Kafka Streams does this when topology.optimization is "all" or "single.store.self.join". It is for join.StreamStream only,
// and to change it is to change stores.
func Shared() Option {
	return Option{Name: storespec.Shared, Apply: func(s *storespec.Settings) error {
		s.Shared = true
		return nil
	}}
}

// KeepHeaders keeps with each row the headers of the record that last changed it. They are on the records of the changelog, as Kafka
// Streams 4.3 writes them, and who reads the store finds them beside the row's time: in Row, in Stamped, in the rows of windows. What
// steps send on does not change: results have the headers of the record that led to them, whatever the stores hold that they read. What a
// processor puts has the headers of the record being processed, but for Stamped values, which say their own.
//
// A store on disk that is given this option later, or loses it, is restored in full from its changelog.
func KeepHeaders() Option {
	return Option{Name: storespec.Headers, Apply: func(s *storespec.Settings) error {
		s.Headers = true
		return nil
	}}
}
