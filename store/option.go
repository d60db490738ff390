package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/spec"
)

// Option is a choice about one store: where it is kept, for example, or how its changelog is
// configured. An option that does not apply to its step is an error of Build.
type Option = spec.StoreOption

// InMemory keeps the store in memory only. Each start restores it from its changelog. Without this
// option the store is on disk, and its latest changes in memory.
func InMemory() Option {
	return Option{Name: spec.OptionInMemory, Apply: func(s *spec.StoreSettings) error {
		s.InMemory = true
		return nil
	}}
}

// NoChangelog keeps no changelog. The rows are lost with their machine, and stay behind when their
// partition moves to another one. Without this option every store has a compacted topic
// <application>-<store>-changelog.
func NoChangelog() Option {
	return Option{Name: spec.OptionNoChangelog, Apply: func(s *spec.StoreSettings) error {
		s.NoChangelog = true
		return nil
	}}
}

// TopicConfig sets a configuration entry of the changelog topic, such as "min.insync.replicas". It
// takes effect when the topic is created.
func TopicConfig(key, value string) Option {
	return Option{Name: spec.OptionTopicConfig, Apply: func(s *spec.StoreSettings) error {
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

// OnDemand makes table.From and table.ToTable keep a store only if a later step, such as a join,
// needs the table's rows or their old values. Without a store the results differ a little: a later
// filter cannot know whether it has passed a row before, so it sends a tombstone for every update
// that fails it.
func OnDemand() Option {
	return Option{Name: spec.OptionOnDemand, Apply: func(s *spec.StoreSettings) error {
		s.OnDemand = true
		return nil
	}}
}

// Retention keeps the windows of an aggregation, so that they can be read, for at least d of stream
// time after they began; sessions, after they ended. Without this option they are kept as long as
// records may change them, which is their length plus their grace period. d must not be less than
// that. The results do not depend on it.
func Retention(d time.Duration) Option {
	return Option{Name: spec.OptionRetention, Apply: func(s *spec.StoreSettings) error {
		switch {
		case d <= 0:
			return fmt.Errorf("store.Retention is %v; it must be greater than 0", d)
		case d%time.Millisecond != 0:
			return fmt.Errorf("store.Retention is %v, which is not a whole number of milliseconds", d)
		case d > spec.Forever:
			return fmt.Errorf("store.Retention is %v, longer than 200 years", d)
		case s.Retention != 0 && s.Retention != d:
			return fmt.Errorf("store.Retention is given twice: %v and %v", s.Retention, d)
		}
		s.Retention = d
		return nil
	}}
}

// SourceIsChangelog makes the topic that table.From reads the changelog of its store, in place of
// one more topic. The store is restored from it, up to the committed offset. That saves a copy of
// the topic and every write to it. The topic must have cleanup.policy=compact and no other policy,
// which is checked at the start: what is deleted from the topic is not restored. Kafka Streams
// calls this topology.optimization=reuse.ktable.source.topics.
func SourceIsChangelog() Option {
	return Option{Name: spec.OptionSourceIsChangelog, Apply: func(s *spec.StoreSettings) error {
		s.SourceIsChangelog = true
		return nil
	}}
}

// UntilCommit makes a table send one update per key at each commit, instead of every update. The
// update has the newest value, the time and headers of the record that led to it, and as old value
// what was sent last. A row that is put and deleted between two commits is not sent at all. Keys
// are sent in the order in which they were last written. The store itself has every update at once:
// joins and processors that read it find it. Reads from outside see it after the commit, as with every
// store.
//
// The pending updates use memory for each key that changed. When they exceed 4 MB for a partition
// of the store, all of them are sent early. Updates that are pending in a crash were not committed,
// so their records are processed again. There is one exception at least once: a process that dies
// in the middle of a commit may leave a tombstone in the changelog that was not sent. When its
// record is processed again, the row is deleted already, so the deletion is not sent then either.
// The same is true of filters of stored tables, and of Kafka Streams.
func UntilCommit() Option {
	return Option{Name: spec.OptionUntilCommit, Apply: func(s *spec.StoreSettings) error {
		s.UntilCommit = true
		return nil
	}}
}

// Name sets the name of a table's store, or the beginning of the names of a join's stores. Without
// it they are named after the step. Repartition topics have the step's name in any case. This
// option is for taking over the state of a Kafka Streams application, where Materialized and
// StreamJoined can give stores another name than Grouped and StreamJoined give topics.
func Name(name string) Option {
	return Option{Name: spec.OptionName, Apply: func(s *spec.StoreSettings) error {
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

// Shared makes a stream that is joined with itself keep its records once, in one store for both
// sides: half the state and half the changelog. Kafka Streams does this when topology.optimization
// is "all" or "single.store.self.join". It is for join.StreamStream only. A program that adds or
// removes it has other stores than before.
func Shared() Option {
	return Option{Name: spec.OptionShared, Apply: func(s *spec.StoreSettings) error {
		s.Shared = true
		return nil
	}}
}

// KeepHeaders keeps with each row the headers of the record that last changed it. They are the
// headers of the changelog's records, as in Kafka Streams 4.3. Readers of the store find them
// beside the row's time: in Row, in Timestamped, in WindowRow and VersionRow.
//
// A row that a processor puts has the headers of the record being processed; a Timestamped value
// has its own. The results of steps do not change: they have the headers of the record that led to
// them, whatever is in the stores that were read.
//
// When this option is added to a store on disk, or removed, the store is restored in full from its
// changelog.
func KeepHeaders() Option {
	return Option{Name: spec.OptionKeepHeaders, Apply: func(s *spec.StoreSettings) error {
		s.Headers = true
		return nil
	}}
}
