package millstream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/internal/worker"
)

// endInterval is how often RunToEnd looks at what the group has committed.
const endInterval = 50 * time.Millisecond

// toEnd returns when the group has committed everything up to the ends.
//
// Sub-topologies are looked at in stages, those that feed others first. The ends of a stage are looked up when all stages before
// it are done: what they wrote was acknowledged before they committed, so it lies before those ends. Sub-topologies that feed each
// other in a circle are one stage, done when they have committed up to their ends and those have not moved meanwhile.
func (s *session) toEnd(ctx context.Context) error {
	plan := s.group.Plan()
	external, err := s.endsOf(ctx, plan, externalTopics(s.app.g, s.cfg.ApplicationID, plan))
	if err != nil {
		return err
	}
	if !s.globals.await(ctx) { // they may be all that there is
		return context.Cause(ctx)
	}
	for _, stage := range stages(s.app.g, s.cfg.ApplicationID, plan) {
		if err := s.finish(ctx, plan, stage, external); err != nil {
			return err
		}
	}
	return nil
}

// finish waits until a stage is done.
func (s *session) finish(ctx context.Context, plan *topics.Plan, stage []int, external map[kafka.TopicPartition]int64) error {
	var inner []string
	ends := map[kafka.TopicPartition]int64{}
	for _, sub := range stage {
		for _, topic := range plan.Subs[sub].Inputs {
			if _, ok := external[kafka.TopicPartition{Topic: topic}]; !ok {
				inner = append(inner, topic)
			}
		}
		for tp, end := range external {
			if slices.Contains(plan.Subs[sub].Inputs, tp.Topic) {
				ends[tp] = end
			}
		}
	}
	for {
		found, err := s.endsOf(ctx, plan, inner)
		if err != nil {
			return err
		}
		moved := false
		for tp, end := range found {
			before, seen := ends[tp] // an end that is looked at for the first time may still move, wherever it is
			moved = moved || !seen || before != end
		}
		maps.Copy(ends, found)
		if err := s.committed(ctx, ends); err != nil {
			return err
		}
		if !moved || len(stage) == 1 && !feedsItself(s.app.g, s.cfg.ApplicationID, plan, stage[0]) {
			return nil
		}
	}
}

// committed waits until the group has committed up to ends, whichever member did.
func (s *session) committed(ctx context.Context, ends map[kafka.TopicPartition]int64) error {
	if len(ends) == 0 { // of a global sub-topology
		return nil
	}
	left := maps.Clone(ends)
	t := time.NewTicker(endInterval)
	defer t.Stop()
	for {
		var at map[kafka.TopicPartition]kafka.OffsetMeta
		err := worker.Persist(ctx, func() (err error) {
			at, err = s.offsets.Fetch(ctx, s.cfg.ApplicationID, slices.Collect(maps.Keys(left)))
			return err
		})
		if err != nil {
			return fmt.Errorf("read committed offsets: %w", err)
		}
		for tp, m := range at {
			if m.Offset >= left[tp] {
				delete(left, tp)
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// endsOf looks up where topics end for a reader of what is committed.
func (s *session) endsOf(ctx context.Context, plan *topics.Plan, names []string) (ends map[kafka.TopicPartition]int64, err error) {
	at := map[kafka.TopicPartition]int64{}
	for _, topic := range names {
		for p := range plan.Topics[topic].Partitions {
			at[kafka.TopicPartition{Topic: topic, Partition: int32(p)}] = kafka.Latest
		}
	}
	if len(at) == 0 {
		return nil, nil
	}
	err = worker.Persist(ctx, func() (err error) {
		ends, err = s.admin.ListOffsets(ctx, kafka.ReadCommitted, at)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up the ends of %v: %w", names, err)
	}
	return ends, nil
}

// written returns the full names of the topics that a sub-topology writes, as far as they are known before it runs.
func written(g *graph.Graph, application string, sub int) []string {
	var out []string
	for _, n := range g.Subs[sub].Nodes {
		switch {
		case n.Kind != graph.Sink || n.Sink.Topic == "":
		case n.Sink.Internal:
			out = append(out, graph.InternalTopic(application, n.Sink.Topic))
		default:
			out = append(out, n.Sink.Topic)
		}
	}
	return out
}

// feeds says whether what sub a writes is read by sub b.
func feeds(g *graph.Graph, application string, plan *topics.Plan, a, b int) bool {
	return slices.ContainsFunc(written(g, application, a), func(topic string) bool { return slices.Contains(plan.Subs[b].Inputs, topic) })
}

func feedsItself(g *graph.Graph, application string, plan *topics.Plan, sub int) bool {
	return feeds(g, application, plan, sub, sub)
}

// externalTopics are the inputs that no sub-topology writes.
func externalTopics(g *graph.Graph, application string, plan *topics.Plan) []string {
	own := map[string]bool{}
	for i := range g.Subs {
		for _, topic := range written(g, application, i) {
			own[topic] = true
		}
	}
	return slices.DeleteFunc(plan.Subscription(), func(topic string) bool { return own[topic] })
}

// stages orders the sub-topologies: each comes after those that feed it, and those that feed each other in a circle are together.
func stages(g *graph.Graph, application string, plan *topics.Plan) [][]int {
	n := len(g.Subs)
	reach := make([][]bool, n) // reach[a][b]: what a writes gets to b
	for a := range n {
		reach[a] = make([]bool, n)
		for b := range n {
			reach[a][b] = feeds(g, application, plan, a, b)
		}
	}
	for k := range n {
		for a := range n {
			for b := range n {
				reach[a][b] = reach[a][b] || reach[a][k] && reach[k][b]
			}
		}
	}
	var out [][]int
	placed := make([]bool, n)
	for len(slices.Concat(out...)) < n {
		for a := range n {
			if placed[a] || !feedersPlaced(reach, placed, a) {
				continue
			}
			stage := []int{a}
			for b := range n {
				if b != a && reach[a][b] && reach[b][a] {
					stage = append(stage, b)
				}
			}
			for _, x := range stage {
				placed[x] = true
			}
			out = append(out, stage)
		}
	}
	return out
}

// feedersPlaced says that whatever feeds a is placed, or in a circle with it.
func feedersPlaced(reach [][]bool, placed []bool, a int) bool {
	for b := range reach {
		if reach[b][a] && !reach[a][b] && !placed[b] {
			return false
		}
	}
	return true
}
