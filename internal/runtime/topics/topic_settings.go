package topics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Settings of topics by which a broker refuses or deletes records.
const (
	retentionMS    = "retention.ms"
	retentionBytes = "retention.bytes"
	compactionLag  = "min.compaction.lag.ms"
	timeAfter      = "message.timestamp.after.max.ms"  // Kafka 3.6 and later
	timeBefore     = "message.timestamp.before.max.ms" // Kafka 3.6 and later
	timeDifference = "message.timestamp.difference.max.ms"

	unlimited = "-1"
	maxInt64  = "9223372036854775807"
)

// timeLimits are the settings with which a broker accepts records of any time: for newer brokers,
// for older ones, and for those that know neither. A record of an internal topic has the time of
// the record that it was made from. An input has accepted that, but an internal topic would not by
// default: brokers since Kafka 4.0 refuse times that are more than an hour ahead.
var timeLimits = []map[string]string{{timeAfter: maxInt64, timeBefore: maxInt64}, {timeDifference: maxInt64}, {}}

// changelogConfig returns the configuration of a store's changelog. In a store rows expire by the
// times of records. A broker deletes and compacts by its clock, and would delete rows that are old
// and not expired in the store, as when old input is processed. So the broker deletes nothing, and
// the member that has the store deletes what has expired (Purger).
func changelogConfig(s *graph.Store) map[string]string {
	config := map[string]string{cleanupPolicy: "compact", timestampType: createTime}
	switch s.Kind {
	case graph.Window, graph.Session:
		config[cleanupPolicy], config[retentionMS] = "compact,delete", unlimited
	case graph.Versioned: // compaction would delete all versions of a key but the last
		config[cleanupPolicy], config[retentionMS], config[compactionLag] = "compact,delete", unlimited, maxInt64
	}
	return config
}

// minRetention returns the settings that say how long the changelog of a store retains records,
// with the least value of each.
func minRetention(s *graph.Store) map[string]int64 {
	switch s.Kind {
	case graph.Window, graph.Session:
		return map[string]int64{retentionMS: s.Retention.Milliseconds()}
	case graph.Versioned:
		// The latest version of a row stays, however old it is.
		return map[string]int64{compactionLag: s.Retention.Milliseconds(), retentionMS: math.MaxInt64}
	}
	return nil
}

// retainAll undoes what Config.TopicConfig says of deletion, unless the store says the same. It is
// meant for topics whose records get old, and the latest version of a key in a versioned store
// never does.
func (s *topicSpec) retainAll(storeConfig map[string]string) {
	for name, value := range map[string]string{retentionMS: unlimited, retentionBytes: unlimited} {
		if _, ok := storeConfig[name]; !ok && s.Config[name] != "" {
			s.Config[name] = value
		}
	}
}

// formatRetention writes for how long records have to be retained.
func formatRetention(ms int64) string {
	if ms == math.MaxInt64 {
		return "ever"
	}
	return fmt.Sprintf("%d ms", ms)
}

// createTopic creates an internal topic. Which limits of times the brokers know is found out by
// trying: none says so, and they refuse settings that they do not know.
func (d *Deployer) createTopic(ctx context.Context, s topicSpec) error {
	var firstErr error
	for level := d.timeLimitLevel; level < len(timeLimits); level++ {
		topic := s.TopicSpec
		topic.Config = maps.Clone(timeLimits[level])
		maps.Copy(topic.Config, s.Config)
		err := d.admin.CreateTopic(ctx, topic)
		if !errors.Is(err, kafka.ErrInvalidConfig) {
			d.timeLimitLevel = level
			return err
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return firstErr // without any limit it is refused, too: the cause is another setting
}

// settingsToLoosen returns the settings of a topic by which the broker would refuse or delete what
// the application needs, with the values that they are to have.
func (s topicSpec) settingsToLoosen(config map[string]string) map[string]string {
	want := map[string]string{timeAfter: maxInt64, timeBefore: maxInt64, timeDifference: maxInt64}
	deletes := cleanupPolicies(s.Config[cleanupPolicy])["delete"]
	if deletes {
		want[retentionBytes] = unlimited
	}
	for _, name := range []string{retentionMS, compactionLag, retentionBytes, timeAfter, timeBefore, timeDifference} {
		if value, ok := s.Config[name]; ok {
			want[name] = value
		}
	}
	changes := map[string]string{}
	for name, value := range want {
		if current, ok := config[name]; ok && isShorter(current, value) {
			changes[name] = value
		}
	}
	if s.changelog && deletes && !cleanupPolicies(config[cleanupPolicy])["delete"] {
		changes[cleanupPolicy] = s.Config[cleanupPolicy] // a broker refuses DeleteRecords in a topic that only compacts
	}
	return changes
}

// isShorter reports whether a setting means less time, or fewer bytes, than another value. Negative
// values mean no limit.
func isShorter(current, want string) bool {
	currentValue, err := strconv.ParseInt(current, 10, 64)
	wantValue, wantErr := strconv.ParseInt(want, 10, 64)
	if err != nil || wantErr != nil || currentValue < 0 {
		return false
	}
	return wantValue < 0 || currentValue < wantValue
}

// loosen alters the settings of a topic that exists. Where it may not, it logs the command that
// does it.
func (d *Deployer) loosen(ctx context.Context, s topicSpec, changes map[string]string) (altered bool, err error) {
	if len(changes) == 0 {
		return false, nil
	}
	err = d.admin.AlterTopicConfig(ctx, s.Name, changes)
	switch {
	case err == nil:
		d.config.Logger.Info("millstream: internal topic altered: the broker would have refused or deleted records that "+
			"the application needs",
			"topic", s.Name, "set", formatSettings(changes))
		return true, nil
	case errors.Is(err, kafka.ErrUnavailable) || ctx.Err() != nil: // it is tried again
		return false, fmt.Errorf("alter the configuration of internal topic %q: %w", s.Name, err)
	}
	d.config.Logger.Warn("millstream: internal topic could not be altered: the broker may refuse or delete records that "+
		"the application needs; run this command",
		"topic", s.Name, "command", d.alterCommand(s.Name, changes), "error", err)
	return false, nil
}

// alterCommand returns the command that alters settings of a topic.
func (d *Deployer) alterCommand(topic string, changes map[string]string) string {
	return fmt.Sprintf("kafka-configs --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s",
		d.bootstrapServers(), topic, formatSettings(changes))
}

// bootstrapServers returns the brokers as Kafka's tools want them.
func (d *Deployer) bootstrapServers() string {
	return cmp.Or(strings.Join(d.config.Brokers, ","), "<brokers>")
}

// formatSettings writes settings as kafka-configs wants them.
func formatSettings(settings map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := settings[name]
		if strings.Contains(value, ",") {
			value = "[" + value + "]"
		}
		out = append(out, name+"="+value)
	}
	return strings.Join(out, ",")
}
