package task

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// wire makes the inlets of all nodes, children before parents, because a node is wired with the
// outlets to its children.
func (t *Task) wire() error {
	inlets := map[*graph.Node]any{}
	for _, node := range slices.Backward(t.sub.Nodes) {
		outs, err := outlets(node, inlets)
		if err != nil {
			return t.wireError(node, err)
		}
		t.currentStep.Node = node
		if node.Kind == graph.Source {
			t.wrapSourceMiddleware(node, outs)
			t.sources = append(t.sources, source{node, outs})
			continue
		}
		inlet, err := node.Wire(node, t, outs)
		if err != nil {
			return t.wireError(node, err)
		}
		inlets[node] = t.wrapMiddleware(node, inlet)
	}
	// wire goes backwards; queues are opened in the order of the graph.
	slices.Reverse(t.sources)
	for i := range t.sources {
		if err := t.openSource(&t.sources[i]); err != nil {
			return err
		}
	}
	return nil
}

// wrapMiddleware puts the topology's middleware around a step, if there is any. The edge from the
// parent knows the types.
func (t *Task) wrapMiddleware(node *graph.Node, inlet any) any {
	if t.cfg.Graph.Middleware == nil || len(node.Parents) == 0 {
		return inlet
	}
	for _, port := range node.Parents[0].Ports {
		if !slices.Contains(port.Children, node) {
			continue
		}
		// WrapMiddleware is nil on a link, an edge between the steps of one call that no record passes.
		if around := t.cfg.Graph.Middleware(node, t.cfg.ID); around != nil && port.WrapMiddleware != nil {
			return port.WrapMiddleware(node, t, inlet, around)
		}
	}
	return inlet
}

// wrapSourceMiddleware puts a source's middleware around its outlets, since only there the record
// is decoded.
func (t *Task) wrapSourceMiddleware(node *graph.Node, outs []any) {
	if t.cfg.Graph.Middleware == nil {
		return
	}
	if around := t.cfg.Graph.Middleware(node, t.cfg.ID); around != nil {
		for i, port := range node.Ports {
			outs[i] = port.WrapMiddleware(node, t, outs[i], around)
		}
	}
}

// outlets makes one outlet per port of a node, from the inlets of the port's children.
func outlets(node *graph.Node, inlets map[*graph.Node]any) ([]any, error) {
	outs := make([]any, len(node.Ports))
	for i, port := range node.Ports {
		children := make([]any, len(port.Children))
		for j, child := range port.Children {
			in, ok := inlets[child]
			if !ok {
				return nil, fmt.Errorf("its child %q is not wired: the nodes of sub-topology %d are out of order",
					child.Name, node.Subtopology)
			}
			children[j] = in
		}
		outs[i] = port.Broadcast(children)
	}
	return outs, nil
}

func (t *Task) openSource(s *source) error {
	if s.node.Source.Pattern != "" {
		return t.openPattern(s)
	}
	for _, topic := range s.node.Source.Topics {
		full := topic
		if s.node.Source.Internal {
			full = graph.InternalTopic(t.cfg.Application, topic)
		}
		if err := t.openTopic(s, topic, full); err != nil {
			return err
		}
	}
	return nil
}

func (t *Task) openPattern(s *source) error {
	if t.cfg.Topics == nil {
		return nil
	}
	topics := slices.Sorted(slices.Values(t.cfg.Topics()))
	for _, topic := range topics {
		if ok, err := matches(s, topic); err != nil {
			return t.wireError(s.node, err)
		} else if !ok {
			continue
		}
		if err := t.openTopic(s, topic, topic); err != nil {
			return err
		}
	}
	return nil
}

// matches reports whether the whole name of a topic matches a source's pattern, as Java's
// Matcher.matches does.
func matches(s *source, topic string) (bool, error) {
	return regexp.MatchString("^(?:"+s.node.Source.Pattern+")$", topic)
}

// openTopic opens the queue of one topic if the task has a partition of it. In a global
// sub-topology it opens the queues of all partitions.
func (t *Task) openTopic(src *source, topic, full string) error {
	if t.cfg.Inputs != nil {
		// The group's leader assigned the partitions that it saw. A count that is looked up here may be
		// older: a partition that was added would not exist by it, and the task would run without reading
		// it.
		tp := kafka.TopicPartition{Topic: full, Partition: t.cfg.ID.Partition}
		if !slices.Contains(t.cfg.Inputs, tp) {
			return nil
		}
		return t.openQueue(src, topic, tp)
	}
	n, err := t.cfg.Out.Partitions(full)
	if err != nil {
		return t.wireError(src.node, fmt.Errorf("topic %q: %w", full, err))
	}
	if t.sub.Global {
		for p := range n {
			if err := t.openQueue(src, topic, kafka.TopicPartition{Topic: full, Partition: int32(p)}); err != nil {
				return err
			}
		}
		return nil
	}
	if int(t.cfg.ID.Partition) >= n {
		return nil
	}
	return t.openQueue(src, topic, kafka.TopicPartition{Topic: full, Partition: t.cfg.ID.Partition})
}

func (t *Task) openQueue(s *source, topic string, tp kafka.TopicPartition) error {
	t.currentStep.Node = s.node
	in, err := s.node.Source.Open(s.node, t, topic, s.outs)
	if err != nil {
		return t.wireError(s.node, err)
	}
	q := newQueue(tp, s.node, in, len(t.queues))
	q.task, q.stores, q.count = t, t.storesBelow(s.node), t.cfg.StepCount(s.node)
	t.queues = append(t.queues, q)
	t.byPartition[tp] = q
	return nil
}
