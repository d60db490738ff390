package millstream

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/topics"
)

// flow makes a graph whose sub-topologies read and write the topics given.
func flow(subs ...[2][]string) (*graph.Graph, *topics.Plan) {
	g, plan := &graph.Graph{}, &topics.Plan{}
	for i, s := range subs {
		sub := &graph.Sub{ID: i}
		for _, topic := range s[1] {
			sub.Nodes = append(sub.Nodes, &graph.Node{Kind: graph.Sink, Sub: i, Sink: &graph.SinkSpec{Topic: topic}})
		}
		g.Subs = append(g.Subs, sub)
		plan.Subs = append(plan.Subs, topics.Sub{Inputs: s[0]})
	}
	return g, plan
}

func TestStagesPutFeedersFirst(t *testing.T) {
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
		g, plan := flow(c.subs...)
		assert.Equal(t, c.stages, stages(g, "app", plan), name)
		assert.Equal(t, c.external, externalTopics(g, "app", plan), name)
	}
}
