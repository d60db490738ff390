package conformance

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

// choices are choices of the builder that must not change what comes out: all vectors hold with them, too.
var choices = map[string]func(*int) stream.BuilderOption{
	"merged repartitions": func(n *int) stream.BuilderOption {
		*n++
		return stream.MergeRepartitions()
	},
	"middleware": func(n *int) stream.BuilderOption {
		pass := func(topology.Node, string) topology.Around {
			return func(r topology.Passing, next func() error) error {
				*n++
				r.Key()
				r.Value()
				r.SetHeaders(r.Headers())
				return next()
			}
		}
		return stream.Middleware(pass, pass)
	},
}

func TestVectors_WithBuilderOptions(t *testing.T) {
	known, ours := specs(t), programs()
	all := vectors(t, *dir)
	for name, choice := range choices {
		t.Run(name, func(t *testing.T) {
			n := 0
			for _, v := range all {
				s, p := known[v.Topology], ours[v.Topology]
				if p.build == nil {
					continue
				}
				p.builder = append(slices.Clone(p.builder), choice(&n))
				t.Run(v.Topology+"."+v.Timeline, func(t *testing.T) { replay(t, s, p, v) })
			}
			assert.Greater(t, n, 300)
		})
	}
}
