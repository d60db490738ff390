package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
)

// missingTopicWait is how long a topic may be unknown until it counts as missing: one that was just
// created is not known to every broker yet.
const missingTopicWait = 5 * time.Second

// missingTopics returns what is wrong with the user's topics that infos does not have; nil when all
// exist.
func (d *Deployer) missingTopics(n *topicNames, infos map[string]kafka.TopicInfo) error {
	var deleted, missing []string
	for _, t := range n.external {
		if _, ok := infos[t]; ok {
			continue
		}
		if _, ok := d.deployed[t]; ok { // it existed before: to create it is not enough
			deleted = append(deleted, fmt.Sprintf("%q", t))
		} else {
			missing = append(missing, fmt.Sprintf("%q", t))
		}
	}
	for _, t := range slices.Sorted(maps.Keys(n.userSinks)) {
		if d.deployed != nil {
			break // a running App asks its policy for each record that it cannot write
		}
		if _, ok := infos[t]; !ok && !slices.Contains(n.external, t) {
			missing = append(missing, fmt.Sprintf("%q (%s)", t, n.userSinks[t]))
		}
	}
	var errs []error
	switch len(missing) {
	case 0:
	case 1:
		errs = append(errs, invalidf("topic %s does not exist; create it, or correct its name", missing[0]))
	default:
		errs = append(errs, invalidf("topics %s do not exist; create them, or correct their names",
			strings.Join(missing, ", ")))
	}
	if len(deleted) > 0 {
		errs = append(errs, invalidf("input topic %s was deleted while the App was running: its unprocessed records are "+
			"lost, and brokers delete a topic's committed offsets with it. Create it and start the App again; if stores were "+
			"made from it, reset the application", strings.Join(deleted, ", ")))
	}
	return errors.Join(errs...)
}

// awaitUserTopics is describeTopics, but that it waits a little for the user's topics that are
// missing.
func (d *Deployer) awaitUserTopics(ctx context.Context, n *topicNames) (map[string]kafka.TopicInfo, error) {
	return d.describeUntil(ctx, n, func(infos map[string]kafka.TopicInfo) error { return d.missingTopics(n, infos) })
}

// describeUntil describes the topics until check finds nothing wrong, for missingTopicWait at most.
func (d *Deployer) describeUntil(
	ctx context.Context, n *topicNames, check func(map[string]kafka.TopicInfo) error,
) (map[string]kafka.TopicInfo, error) {
	deadline := time.Now().Add(missingTopicWait)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		infos, err := d.describeTopics(ctx, n)
		if err != nil {
			return nil, err
		}
		problem := check(infos)
		if problem == nil || !time.Now().Before(deadline) {
			return infos, problem
		}
		if err := kafka.Sleep(ctx, min(pause, time.Until(deadline))); err != nil {
			return nil, err
		}
	}
}

// checkRecreated refuses topics that have another id than at the last deployment. They were deleted
// and created again: committed offsets and rows are of the topics before.
func (d *Deployer) checkRecreated(infos map[string]kafka.TopicInfo) error {
	var errs []error
	for _, t := range slices.Sorted(maps.Keys(d.deployed)) {
		if info, ok := infos[t]; ok && info.ID != d.deployed[t] && info.ID != (kafka.TopicID{}) {
			errs = append(errs, invalidf("topic %q was deleted and created again while the App was running: its records are "+
				"lost. Start the App again; if it is a changelog or stores were made from it, reset the application", t))
		}
	}
	return errors.Join(errs...)
}

// committedState is what the committed offsets say of the program that committed them.
type committedState struct {
	anyOffset bool // the group has committed at least one
	program   offsetmeta.Program
}

// committedProgram reads what the committed offsets say of the program. All offsets are read, not
// only those that each sub-topology needs: a broker deletes the offsets of a topic that is deleted,
// and with them what they alone would say of it.
func (d *Deployer) committedProgram(ctx context.Context, deployment *Deployment) (committedState, error) {
	var state committedState
	if d.config.Committed == nil {
		return state, nil
	}
	found, err := d.config.Committed(ctx, deployment.Partitions())
	if err != nil {
		return state, fmt.Errorf("read committed offsets: %w", err)
	}
	for _, tp := range deployment.Partitions() {
		offset := found[tp]
		if offset.Offset < 0 {
			continue
		}
		state.anyOffset = true
		_, entries, _ := offsetmeta.Decode(offset.Metadata) // what another client has written says nothing here
		program, err := offsetmeta.ProgramOf(entries)
		if err != nil {
			d.config.Logger.Warn("millstream: the program's internal topics in a committed offset cannot be read",
				"topic", tp.Topic, "partition", tp.Partition, "error", err)
		}
		state.program.Merge(program)
	}
	return state, nil
}

// checkCreatable refuses to make internal topics that the application had before. What was in them
// was deleted, and nobody would notice that it is missing from the results. It returns the topics
// as they are now, since another member may have made them meanwhile.
func (d *Deployer) checkCreatable(
	ctx context.Context, n *topicNames, deployment *Deployment, specs []topicSpec, infos map[string]kafka.TopicInfo,
) (map[string]kafka.TopicInfo, error) {
	if len(missingSpecs(specs, infos)) == 0 {
		return infos, nil
	}
	state, err := d.committedProgram(ctx, deployment)
	if err != nil {
		return nil, err
	}
	if !state.program.Known() && len(d.deployed) == 0 {
		// A first start, or offsets that Kafka Streams or an earlier version has committed: these say
		// nothing of internal topics. To refuse would make taking over from Kafka Streams impossible.
		if state.anyOffset {
			d.config.Logger.Warn("millstream: internal topics are made; the group's offsets, committed by Kafka Streams or by "+
				"an earlier version, do not record whether they existed before: if they did, their records are lost",
				"topics", specNames(missingSpecs(specs, infos)))
		}
		return infos, nil
	}
	// For a while: at the first start of two members, one may have made the topics and committed,
	// while the other has looked before that.
	return d.describeUntil(ctx, n, func(infos map[string]kafka.TopicInfo) error {
		var existed []topicSpec
		for _, s := range missingSpecs(specs, infos) {
			if _, seen := d.deployed[s.Name]; seen ||
				state.program.Has(strings.TrimPrefix(s.Name, graph.InternalTopic(d.config.Application, ""))) {
				existed = append(existed, s)
			}
		}
		return d.deletedError(existed)
	})
}

// missingSpecs returns the topics that do not exist.
func missingSpecs(specs []topicSpec, infos map[string]kafka.TopicInfo) []topicSpec {
	return slices.DeleteFunc(slices.Clone(specs), func(s topicSpec) bool {
		_, ok := infos[s.Name]
		return ok
	})
}

func specNames(specs []topicSpec) []string {
	var out []string
	for _, s := range specs {
		out = append(out, s.Name)
	}
	return out
}

// deletedError returns the error about internal topics that existed and do not any more; nil if
// there are none. It names each way out, with the commands.
func (d *Deployer) deletedError(specs []topicSpec) error {
	if len(specs) == 0 {
		return nil
	}
	var topics, commands []string
	for _, s := range specs {
		topic := fmt.Sprintf("repartition topic %q (records on their way to the next step)", s.Name)
		if s.changelog {
			topic = fmt.Sprintf("changelog %q (the state of store %q)", s.Name, s.storeName)
		}
		topics = append(topics, topic)
		commands = append(commands, d.createCommand(s))
	}
	why := fmt.Sprintf("the committed offsets of group %q say that the application had this, so it was deleted",
		d.config.Application)
	if d.deployed != nil {
		why = fmt.Sprintf("it was there when the App of group %q started, so it was deleted while it was running",
			d.config.Application)
	}
	rename := ""
	if slices.ContainsFunc(specs, func(s topicSpec) bool { return s.changelog }) {
		rename = ". A store may also go on under another name, empty"
	}
	return invalidf("missing: %s: %s. It is not made again empty: its records would be missing from the results without "+
		"any error. Either restore it from a backup; or reset the application, which then processes its inputs again "+
		"(docs/evolution.md); or accept the loss and create it: %s%s", strings.Join(topics, ", "), why,
		strings.Join(commands, "; "), rename)
}

// createCommand returns the command that creates a topic as it would be created here.
func (d *Deployer) createCommand(s topicSpec) string {
	var command strings.Builder
	fmt.Fprintf(&command, "kafka-topics --bootstrap-server %s --create --topic %s --partitions %d", d.bootstrapServers(),
		s.Name, s.Partitions)
	if s.Replication > 0 {
		fmt.Fprintf(&command, " --replication-factor %d", s.Replication)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Config)) {
		fmt.Fprintf(&command, " --config %s=%s", key, s.Config[key])
	}
	return command.String()
}

// checkTypes refuses stores whose rows have another type than those in their changelogs.
func (d *Deployer) checkTypes(ctx context.Context, deployment *Deployment) error {
	// At the first deployment only: the types of a running program do not change.
	if len(d.deployed) > 0 || !slices.ContainsFunc(d.graph.Stores, func(s *graph.Store) bool { return s.Changelog }) {
		return nil
	}
	state, err := d.committedProgram(ctx, deployment)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range d.graph.Stores {
		if was, changed := state.program.Changed(graph.ChangelogName(s.Name), s.Type()); s.Changelog && changed {
			errs = append(errs, invalidf("the type of store %q, made at %s, changed: it was (%s) and is (%s), and the new one "+
				"cannot read the rows in %q: give it another name, or reset the application (docs/evolution.md)", s.Name, s.Pos,
				was, s.Type(), graph.ChangelogTopic(d.config.Application, s.Name)))
		}
	}
	return errors.Join(errs...)
}

// recordDeployed notes the topics that the deployment depends on.
func (d *Deployer) recordDeployed(deployment *Deployment) {
	d.deployed = map[string]kafka.TopicID{}
	for name, info := range deployment.Topics {
		d.deployed[name] = info.ID
	}
}
