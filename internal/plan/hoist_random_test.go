package plan_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

var seed = flag.Uint64("seed", 0, "run one random program, with this seed")

// TestDifferentialMergedRepartitions runs random programs with and without merged repartition topics: each output has the same records,
// in the same order for each key.
func TestDifferentialMergedRepartitions(t *testing.T) {
	seeds := []uint64{*seed}
	if *seed == 0 {
		seeds = nil
		for range 300 {
			seeds = append(seeds, rand.Uint64())
		}
	}
	merges := 0
	for _, s := range seeds {
		t.Run(fmt.Sprint("seed=", s), func(t *testing.T) {
			apart, topicsApart, outs := randomRun(t, s)
			together, topicsTogether, _ := randomRun(t, s, stream.MergeRepartitions())
			merges += topicsApart - topicsTogether
			for name := range outs {
				assert.Equal(t, apart[name], together[name], "output %s", name)
			}
			assert.Equal(t, apart["dropped"], together["dropped"])
		})
	}
	if len(seeds) > 1 {
		assert.Greater(t, merges, 100, "hardly a program has topics to merge")
	}
}

// randomRun builds the program of a seed, sends it the records of the seed, and returns what each output has for each key, with the number of
// its repartition topics.
func randomRun(t *testing.T, seed uint64, opts ...stream.BuilderOption) (map[string]map[string][]string, int, map[string]bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	b := stream.NewBuilder(opts...)
	p := &randomProgram{r: r, b: b, outs: map[string]bool{}}
	p.streams = []strs{stream.From(b, text("in")), stream.From(b, text("in2"))}
	p.rows = table.From(b, text("rows"), "rows")
	for range 6 + r.IntN(14) {
		p.step()
	}
	top, err := b.Build()
	require.NoError(t, err)
	checkEdges(t, top.Graph())
	d := testdriver.New(t, top, testdriver.Partitions(1+r.IntN(3)))
	got := map[string]map[string][]string{}
	for i := range 60 {
		topic := []string{"in", "in", "in2", "rows"}[r.IntN(4)]
		x := rec{Key: string(rune('a' + r.IntN(4))), Value: string(rune('a'+r.IntN(5))) + fmt.Sprint(i)}
		if r.IntN(8) == 0 && topic != "rows" {
			x = x.Keyless()
		}
		if r.IntN(8) == 0 {
			x = x.Deleted()
		}
		if err := testdriver.Input(d, text(topic)).SendErr(x); err != nil {
			continue // the topic is read by nothing
		}
	}
	for name := range p.outs {
		got[name] = map[string][]string{}
		for _, x := range testdriver.Output(d, text(name)).Take() {
			got[name][x.Key] = append(got[name][x.Key], fmt.Sprint(x.Value, x.Tombstone, x.NoKey, x.Time.UnixMilli()))
		}
		slices.Sort(got[name][""]) // those without a key lie in any partition
	}
	got["dropped"] = map[string][]string{}
	for reason, n := range d.Dropped() {
		if reason == graph.NoRepartition { // once a topic
			continue
		}
		got["dropped"][reason] = []string{fmt.Sprint(n)}
	}
	return got, len(top.Graph().Topics), p.outs
}

// randomProgram adds steps to a builder.
type randomProgram struct {
	r       *rand.Rand
	b       *stream.Builder
	streams []strs
	rows    table.KTable[string, string]
	outs    map[string]bool
	n       int
}

func (p *randomProgram) name(kind string) string {
	p.n++
	return fmt.Sprint(kind, p.n)
}

func (p *randomProgram) out(s strs) {
	name := p.name("out")
	p.outs[name] = true
	stream.To(s, text(name))
}

// pick returns a stream, mostly one of the last.
func (p *randomProgram) pick() strs {
	return p.streams[len(p.streams)-1-p.r.IntN(min(3, len(p.streams)))]
}

func (p *randomProgram) add(s ...strs) { p.streams = append(p.streams, s...) }

func (p *randomProgram) step() {
	s := p.pick()
	first := func(_, v string) string { return v[:min(1, len(v))] }
	switch p.r.IntN(13) {
	case 0, 1:
		p.add(stream.SelectKey(s, first))
	case 2:
		p.add(stream.MapRecords(s, func(r rec) rec {
			if r.Tombstone || r.Value != "" && r.Value[0] == 'a' {
				return r.Keyless()
			}
			return stream.WithKey(r, r.Value[:1])
		}))
	case 3:
		p.add(stream.Filter(s, func(k, _ string) bool { return k != "b" }))
	case 4:
		p.add(stream.Peek(s, func(rec) {}))
	case 5:
		yes, no := stream.Branch(s, func(r rec) bool { return r.Key < "c" })
		p.add(yes, no)
	case 6:
		p.add(stream.MapValues(s, func(v string) string { return v + "!" }))
	case 7:
		p.add(stream.Merge(s, p.pick()))
	case 8:
		p.out(s)
	case 9:
		n := table.Count(stream.GroupByKey(s), p.name("count"))
		p.out(stream.MapValues(table.ToStream(n), func(n int64) string { return fmt.Sprint(n) }))
	case 10:
		p.out(table.ToStream(table.Reduce(stream.GroupByKey(s), p.name("reduce"), func(a, v string) string { return a + v })))
	case 11:
		p.out(join.StreamTableLeft(s, p.rows, p.name("left"), func(v, t string, _ bool) string { return v + "+" + t }))
	default:
		p.out(join.StreamTable(s, p.rows, p.name("join"), func(v, t string) string { return v + "+" + t }))
	}
}
