package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Configuration of internal topics, as Kafka Streams has it. The times of records are for the
// operators to decide. If brokers wrote their own instead, windows and joins would move, and rows
// would come back from a changelog with other times.
const (
	cleanupPolicy = "cleanup.policy"
	timestampType = "message.timestamp.type"
	createTime    = "CreateTime"
)

// topicSpec is an internal topic as it has to be.
type topicSpec struct {
	kafka.TopicSpec
	changelog bool
	storeName string // whose changelog it is
	// minimums are the least values that settings must have, in milliseconds. With less the broker
	// would delete what the store still has.
	minimums map[string]int64
}

// specs returns the internal topics that the deployment needs.
func (d *Deployer) specs(deployment *Deployment, n *topicNames, counts map[string]int) []topicSpec {
	var out []topicSpec
	for _, topic := range deployment.Repartition {
		// Not by age: records are deleted once they were processed, and a broker that deleted them
		// before, while the App did not run, would lose input. Small segments, since only whole
		// ones free their disk.
		out = append(out, d.newSpec(topic, counts[topic], map[string]string{
			cleanupPolicy: "delete", timestampType: createTime, retentionMS: unlimited, "segment.bytes": "52428800",
		}, nil))
	}
	for i, s := range deployment.Subtopologies {
		for _, st := range n.graph.Subtopologies[i].Stores {
			if st.Changelog && s.TaskCount > 0 {
				c := d.newSpec(s.Changelogs[st.Name], s.TaskCount, changelogConfig(st), st.Config)
				c.changelog, c.storeName, c.minimums = true, st.Name, minRetention(st)
				if st.Kind == graph.Versioned {
					c.retainAll(st.Config)
				}
				out = append(out, c)
			}
		}
	}
	return out
}

// newSpec returns a spec. What a store says of its own changelog wins over Config.TopicConfig.
func (d *Deployer) newSpec(name string, partitions int, config, storeConfig map[string]string) topicSpec {
	maps.Copy(config, d.config.TopicConfig)
	maps.Copy(config, storeConfig)
	return topicSpec{TopicSpec: kafka.TopicSpec{Name: name, Partitions: partitions, Replication: d.config.Replication,
		Config: config}}
}

// ensure creates what is missing, checks what is there, and adds what was created to infos.
func (d *Deployer) ensure(ctx context.Context, specs []topicSpec, infos map[string]kafka.TopicInfo) error {
	var created []string
	for _, s := range specs {
		if _, ok := infos[s.Name]; ok {
			continue
		}
		// Another member may be faster: then its topic is checked like any that was there before.
		if err := d.createTopic(ctx, s); err != nil && !errors.Is(err, kafka.ErrTopicExists) {
			return fmt.Errorf("create internal topic %q: %w", s.Name, err)
		}
		created = append(created, s.Name)
	}
	if err := d.awaitMetadata(ctx, created, infos); err != nil {
		return err
	}
	var errs []error
	for _, s := range specs {
		errs = append(errs, d.checkTopic(ctx, s, infos[s.Name]))
	}
	return errors.Join(errs...)
}

// awaitMetadata waits until created topics are in the metadata: the broker that answers may not be
// the one that created them.
func (d *Deployer) awaitMetadata(ctx context.Context, created []string, infos map[string]kafka.TopicInfo) error {
	if len(created) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		found, err := d.admin.Topics(ctx, created...)
		if err != nil {
			return fmt.Errorf("describe created topics: %w", err)
		}
		maps.Copy(infos, found)
		if len(found) == len(created) {
			return nil
		}
		if kafka.Sleep(ctx, pause) != nil {
			return fmt.Errorf("wait for the topics %s that were created: %w", strings.Join(created, ", "), ctx.Err())
		}
	}
}

// checkTopic refuses an internal topic that does not fit, after it has corrected what it may.
func (d *Deployer) checkTopic(ctx context.Context, spec topicSpec, info kafka.TopicInfo) error {
	if info.Partitions != spec.Partitions {
		return spec.countMismatch(info.Partitions)
	}
	if d.configChecked(info) {
		return nil
	}
	config, err := d.admin.TopicConfig(ctx, spec.Name)
	if errors.Is(err, kafka.ErrNotAuthorized) {
		d.checked[spec.Name] = info.ID // who may not read it cannot check it; Kafka Streams does not check at all
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the configuration of internal topic %q: %w", spec.Name, err)
	}
	changes := spec.settingsToLoosen(config)
	altered := maps.Clone(config)
	maps.Copy(altered, changes)
	// Before the topic is altered: one that is refused anyway is left as it is.
	if err := d.checkConfig(spec, altered); err != nil {
		return err
	}
	if ok, err := d.loosen(ctx, spec, changes); err != nil {
		return err
	} else if !ok { // it may not be altered, and has to fit as it is
		if err := d.checkConfig(spec, config); err != nil {
			return err
		}
	}
	d.checked[spec.Name] = info.ID
	return nil
}

// countMismatch returns the error about an internal topic that has another number of partitions
// than its inputs ask for. It says what can be done. A topic never gets fewer partitions, so to
// take back those of an input is no way out.
func (s topicSpec) countMismatch(count int) error {
	if !s.changelog {
		return mismatchf("internal topic %q has %d partitions, but the topology needs %d, the count of the topics that it "+
			"is joined or merged with by key, or that of stream.Partitions; put a Repartition with the same count in front of "+
			"those topics, or reset the application", s.Name, count, s.Partitions)
	}
	if count > s.Partitions {
		return mismatchf("changelog %q has %d partitions, but the inputs of its store only %d: rows of the others would be "+
			"lost; give the inputs as many partitions, or reset the application", s.Name, count, s.Partitions)
	}
	return mismatchf("changelog %q has %d partitions, but an input of its store now has %d: keys are in other "+
		"partitions than their rows. Put a Repartition with %d partitions in front of the store, which keeps its rows; or "+
		"reset the application; or, if the rows of keys that have moved are not needed, give the changelog %d partitions",
		s.Name, count, s.Partitions, count, s.Partitions)
}

// checkConfig refuses settings by which records would be lost or changed without a sign.
func (d *Deployer) checkConfig(spec topicSpec, config map[string]string) error {
	var errs []error
	for _, policy := range []string{"compact", "delete"} {
		has, want := cleanupPolicies(config[cleanupPolicy])[policy], cleanupPolicies(spec.Config[cleanupPolicy])[policy]
		// A changelog that deletes loses rows, and a repartition topic that compacts loses records. A
		// changelog that is not compacted only grows: that is for the user to decide.
		if has && !want {
			errs = append(errs, invalidf("internal topic %q has %s=%s, but needs %s: its records would be lost; correct it: %s",
				spec.Name, cleanupPolicy, config[cleanupPolicy], spec.Config[cleanupPolicy],
				d.alterCommand(spec.Name, map[string]string{cleanupPolicy: spec.Config[cleanupPolicy]})))
		}
	}
	for name, want := range spec.minimums {
		has, err := strconv.ParseInt(config[name], 10, 64) // negative: unlimited
		deletes := name != retentionMS || cleanupPolicies(config[cleanupPolicy])["delete"]
		if err == nil && has >= 0 && has < want && deletes {
			value := unlimited
			if name == compactionLag {
				value = maxInt64
			}
			errs = append(errs, invalidf("internal topic %q has %s=%d, but its store keeps rows for %s: its records would be "+
				"lost; correct it: %s",
				spec.Name, name, has, formatRetention(want), d.alterCommand(spec.Name, map[string]string{name: value})))
		}
	}
	if has, ok := config[timestampType]; spec.changelog && ok && has != spec.Config[timestampType] {
		errs = append(errs, invalidf("internal topic %q has %s=%s, but needs %s: rows would come back from it with other "+
			"times; correct it: %s",
			spec.Name, timestampType, has, spec.Config[timestampType],
			d.alterCommand(spec.Name, map[string]string{timestampType: spec.Config[timestampType]})))
	}
	return errors.Join(errs...)
}

func cleanupPolicies(s string) map[string]bool {
	out := map[string]bool{}
	for p := range strings.SplitSeq(s, ",") {
		out[strings.TrimSpace(p)] = true
	}
	return out
}

// checkSources refuses topics that delete old records, if stores are restored from them: rows whose
// records were deleted would be lost. Topics of global stores may: such a store is meant to have
// what its topic has.
func (d *Deployer) checkSources(ctx context.Context, infos map[string]kafka.TopicInfo) error {
	var errs []error
	for _, st := range d.graph.Stores {
		if st.SourceTopic == "" || st.Global || d.configChecked(infos[st.SourceTopic]) {
			continue
		}
		config, err := d.admin.TopicConfig(ctx, st.SourceTopic)
		if err != nil && !errors.Is(err, kafka.ErrNotAuthorized) {
			return fmt.Errorf("read the configuration of topic %q: %w", st.SourceTopic, err)
		}
		if has := config[cleanupPolicy]; err == nil && cleanupPolicies(has)["delete"] {
			errs = append(errs, invalidf("topic %q has %s=%s, but store %q, made at %s, is restored from it: rows whose "+
				"records were deleted would be lost; make it compact, or keep a changelog", st.SourceTopic, cleanupPolicy, has,
				st.Name, st.Pos))
			continue
		}
		d.checked[st.SourceTopic] = infos[st.SourceTopic].ID
	}
	return errors.Join(errs...)
}

// configChecked reports whether the configuration of a topic was found right before.
func (d *Deployer) configChecked(info kafka.TopicInfo) bool {
	id, ok := d.checked[info.Name]
	return ok && id == info.ID
}
