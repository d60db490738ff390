package topics

import (
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
)

// sinkTopics returns the full names of the topics that a sub-topology writes, as far as they are
// known before it runs: a sink may choose the topic for each record.
func sinkTopics(g *graph.Graph, application string, sub int) []string {
	var out []string
	for _, n := range g.Subtopologies[sub].Nodes {
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

// WritesInputOf reports whether sub-topology a writes a topic that sub-topology b reads. The two
// may be the same.
func WritesInputOf(g *graph.Graph, application string, d *Deployment, a, b int) bool {
	return slices.ContainsFunc(sinkTopics(g, application, a), func(topic string) bool {
		return slices.Contains(d.Subtopologies[b].Inputs, topic)
	})
}

// ExternalTopics returns the topics that the application reads and none of its sub-topologies
// writes.
func ExternalTopics(g *graph.Graph, application string, d *Deployment) []string {
	internal := map[string]bool{}
	for i := range g.Subtopologies {
		for _, topic := range sinkTopics(g, application, i) {
			internal[topic] = true
		}
	}
	return slices.DeleteFunc(d.Subscription(), func(topic string) bool { return internal[topic] })
}

// Stages orders the sub-topologies: each comes after those that write what it reads. Those that
// write what each other read, in a circle, are one stage.
func Stages(g *graph.Graph, application string, d *Deployment) [][]int {
	count := len(g.Subtopologies)
	reaches := make([][]bool, count) // reaches[a][b]: what a writes gets to b, directly or through others
	for a := range count {
		reaches[a] = make([]bool, count)
		for b := range count {
			reaches[a][b] = WritesInputOf(g, application, d, a, b)
		}
	}
	// The transitive closure, by the algorithm of Warshall: after round k all ways through the
	// sub-topologies up to k are known.
	for k := range count {
		for a := range count {
			for b := range count {
				reaches[a][b] = reaches[a][b] || reaches[a][k] && reaches[k][b]
			}
		}
	}
	var out [][]int
	placed := make([]bool, count)
	for len(slices.Concat(out...)) < count {
		for a := range count {
			if placed[a] || !upstreamPlaced(reaches, placed, a) {
				continue
			}
			stage := []int{a}
			for b := range count {
				if b != a && reaches[a][b] && reaches[b][a] {
					stage = append(stage, b)
				}
			}
			for _, sub := range stage {
				placed[sub] = true
			}
			out = append(out, stage)
		}
	}
	return out
}

// upstreamPlaced reports whether all that write to a, directly or through others, are placed or in
// a circle with it.
func upstreamPlaced(reaches [][]bool, placed []bool, a int) bool {
	for b := range reaches {
		if reaches[b][a] && !reaches[a][b] && !placed[b] {
			return false
		}
	}
	return true
}
