package conformance

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

// Each step counts the records that come to it, each of them once: as many as middleware around the step sees.
func TestVectors_StepsCountTheirRecords(t *testing.T) {
	known, ours := specs(t), programs()
	steps, records := map[string]bool{}, int64(0)
	for _, v := range vectors(t, *dir) {
		s, p := known[v.Topology], ours[v.Topology]
		if p.build == nil {
			continue
		}
		t.Run(v.Topology+"."+v.Timeline, func(t *testing.T) {
			seen := map[string]int64{}
			count := func(n topology.Node, _ string) topology.Around {
				seen[n.Name] += 0
				return func(_ topology.Passing, next func() error) error {
					seen[n.Name]++
					return next()
				}
			}
			p.builder = append(slices.Clone(p.builder), stream.Middleware(count))
			counted := replay(t, s, p, v).Steps()
			for name, n := range seen {
				// No record comes to the step that both sides of a join share, so it has no middleware. It counts results.
				if shared := slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(other string) bool {
					return strings.HasPrefix(other, name+"-") && strings.Contains(other, "join")
				}); shared && n == 0 {
					continue
				}
				assert.Equal(t, n, counted[name], "step %q", name)
				records += n
				steps[v.Topology+name] = true
			}
		})
	}
	assert.Greater(t, len(steps), 100)
	assert.Greater(t, records, int64(1000))
}
