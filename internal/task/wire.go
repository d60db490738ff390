package task

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// wire makes the inlets of all nodes, children before parents: a node's outlets are there when it is wired.
func (t *Task) wire() error {
	inlets := map[*graph.Node]any{}
	for _, n := range slices.Backward(t.sub.Nodes) {
		outs, err := outlets(n, inlets)
		if err != nil {
			return t.atNode(n, err)
		}
		t.place.Node = n
		if n.Kind == graph.Source {
			t.surroundSource(n, outs)
			t.sources = append(t.sources, source{n, outs})
			continue
		}
		inlet, err := n.Wire(n, t, outs)
		if err != nil {
			return t.atNode(n, err)
		}
		inlets[n] = t.surround(n, inlet)
	}
	slices.Reverse(t.sources)
	for i := range t.sources {
		if err := t.openSource(&t.sources[i]); err != nil {
			return err
		}
	}
	return nil
}

// surround puts the topology's middleware around a step, if it has any. The types are those of the edge that leads there.
func (t *Task) surround(n *graph.Node, inlet any) any {
	if t.cfg.Graph.Around == nil || len(n.Parents) == 0 {
		return inlet
	}
	for _, p := range n.Parents[0].Ports {
		if !slices.Contains(p.Children, n) {
			continue
		}
		// Behind a link the steps of one call meet: no record passes it.
		if around := t.cfg.Graph.Around(n, t.cfg.ID); around != nil && p.Around != nil {
			return p.Around(n, t, inlet, around)
		}
	}
	return inlet
}

// surroundSource puts middleware around what follows from a source: the record is decoded then.
func (t *Task) surroundSource(n *graph.Node, outs []any) {
	if t.cfg.Graph.Around == nil {
		return
	}
	if around := t.cfg.Graph.Around(n, t.cfg.ID); around != nil {
		for i, p := range n.Ports {
			outs[i] = p.Around(n, t, outs[i], around)
		}
	}
}

func outlets(n *graph.Node, inlets map[*graph.Node]any) ([]any, error) {
	outs := make([]any, len(n.Ports))
	for i, p := range n.Ports {
		children := make([]any, len(p.Children))
		for j, c := range p.Children {
			in, ok := inlets[c]
			if !ok {
				return nil, fmt.Errorf("its child %q is not wired: the nodes of sub-topology %d are out of order", c.Name, n.Sub)
			}
			children[j] = in
		}
		outs[i] = p.Fan(children)
	}
	return outs, nil
}

func (t *Task) openSource(s *source) error {
	if s.node.Source.Pattern != "" {
		return t.openMatches(s)
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

func (t *Task) openMatches(s *source) error {
	if t.cfg.Topics == nil {
		return nil
	}
	topics := slices.Sorted(slices.Values(t.cfg.Topics()))
	for _, topic := range topics {
		if ok, err := matches(s, topic); err != nil {
			return t.atNode(s.node, err)
		} else if !ok {
			continue
		}
		if err := t.openTopic(s, topic, topic); err != nil {
			return err
		}
	}
	return nil
}

// matches says whether the whole name of a topic matches a source's pattern, as in Java.
func matches(s *source, topic string) (bool, error) {
	return regexp.MatchString("^(?:"+s.node.Source.Pattern+")$", topic)
}

// openTopic opens the queue of one topic, unless the topic has fewer partitions than the task's number; in a global sub-topology
// those of all its partitions.
func (t *Task) openTopic(s *source, topic, full string) error {
	n, err := t.cfg.Out.Partitions(full)
	if err != nil {
		return t.atNode(s.node, fmt.Errorf("topic %q: %w", full, err))
	}
	if t.sub.Global {
		for p := range n {
			if err := t.openQueue(s, topic, kafka.TopicPartition{Topic: full, Partition: int32(p)}); err != nil {
				return err
			}
		}
		return nil
	}
	if int(t.cfg.ID.Partition) >= n {
		return nil
	}
	return t.openQueue(s, topic, kafka.TopicPartition{Topic: full, Partition: t.cfg.ID.Partition})
}

func (t *Task) openQueue(s *source, topic string, tp kafka.TopicPartition) error {
	t.place.Node = s.node
	in, err := s.node.Source.Open(s.node, t, topic, s.outs)
	if err != nil {
		return t.atNode(s.node, err)
	}
	q := newQueue(tp, s.node, in, len(t.queues))
	t.queues = append(t.queues, q)
	t.byTP[tp] = q
	return nil
}
