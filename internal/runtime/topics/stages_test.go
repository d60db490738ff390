package topics

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/graph"
)

// flow makes a graph whose sub-topologies read and write the topics given.
func flow(subs ...[2][]string) (*graph.Graph, *Deployment) {
	g, d := &graph.Graph{}, &Deployment{}
	for i, s := range subs {
		sub := &graph.Subtopology{ID: i}
		for _, topic := range s[1] {
			sub.Nodes = append(sub.Nodes, &graph.Node{Kind: graph.Sink, Subtopology: i, Sink: &graph.SinkSpec{Topic: topic}})
		}
		g.Subtopologies = append(g.Subtopologies, sub)
		d.Subtopologies = append(d.Subtopologies, Subtopology{Inputs: s[0]})
	}
	return g, d
}

func TestStages_UpstreamFirst(t *testing.T) {
	type sub = [2][]string
	for name, c := range map[string]struct {
		subs     []sub
		stages   [][]int
		external []string
	}{
		"none":     {},
		"one":      {[]sub{{{"a"}, {"b"}}}, [][]int{{0}}, []string{"a"}},
		"backward": {[]sub{{{"c"}, {"d"}}, {{"b"}, {"c"}}, {{"a"}, {"b"}}}, [][]int{{2}, {1}, {0}}, []string{"a"}},
		"diamond":  {[]sub{{{"a"}, {"b", "c"}}, {{"b"}, {"d"}}, {{"c"}, {"d"}}, {{"d", "x"}, nil}}, [][]int{{0}, {1}, {2}, {3}}, []string{"a", "x"}},
		"itself":   {[]sub{{{"a", "b"}, {"b"}}}, [][]int{{0}}, []string{"a"}},
		"circle":   {[]sub{{{"y"}, {"z"}}, {{"a", "c"}, {"b"}}, {{"b"}, {"c", "y"}}}, [][]int{{1, 2}, {0}}, []string{"a"}},
	} {
		g, d := flow(c.subs...)
		assert.Equal(t, c.stages, Stages(g, "app", d), name)
		assert.Equal(t, c.external, ExternalTopics(g, "app", d), name)
	}
}
