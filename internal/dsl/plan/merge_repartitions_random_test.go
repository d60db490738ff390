package plan_test

import (
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
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

// TestMergeRepartitions_Random runs random programs with and without merged repartition topics:
// each output has the same records, in the same order for each key. Where one record comes to an
// output on several ways, what it leads to may be in any order: see randomStream.
func TestMergeRepartitions_Random(t *testing.T) {
	n, enough := 300, 30
	if *seed != 0 {
		n, enough = 1, 0
	}
	merging := 0
	// One program in five has topics to merge. On until there were enough of them: no number of programs
	// is sure to have some.
	for at := 0; at < n || merging < enough; at++ {
		require.Less(t, at, 10*n, "hardly a program has topics to merge")
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		t.Run(fmt.Sprint("seed=", s), func(t *testing.T) {
			apart, topicsApart := randomRun(t, s)
			together, topicsTogether := randomRun(t, s, stream.MergeRepartitions())
			if topicsTogether < topicsApart {
				merging++
			}
			assert.Equal(t, apart, together)
		})
	}
}

// randomRun builds the program of a seed, sends it the records of the seed, and returns what each
// output has for each key, what was dropped, and the number of repartition topics.
func randomRun(t *testing.T, seed uint64, opts ...stream.BuilderOption) (map[string]map[string][]string, int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	b := stream.NewBuilder(opts...)
	p := &randomProgram{r: r, b: b}
	p.streams = []randomStream{{strs: stream.From(b, text("in")), inputs: 1}, {strs: stream.From(b, text("in2")), inputs: 2}}
	p.rows = table.From(b, text("rows"), "rows")
	for range 6 + r.IntN(14) {
		p.step()
	}
	top, err := b.Build()
	require.NoError(t, err)
	checkEdges(t, (*graph.Handle)(top).Graph())
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
		for _, o := range p.outs {
			if got[o.name] == nil {
				got[o.name] = map[string][]string{}
			}
			for key, records := range o.read(d) {
				got[o.name][key] = append(got[o.name][key], records...)
			}
		}
	}
	for _, o := range p.outs {
		slices.Sort(got[o.name][""]) // those without a key lie in any partition
	}
	got["dropped"] = map[string][]string{}
	for reason, n := range d.Dropped() {
		if reason == graph.NoRepartition { // once a topic
			continue
		}
		got["dropped"][reason] = []string{fmt.Sprint(n)}
	}
	return got, len((*graph.Handle)(top).Graph().Topics)
}

// randomProgram adds steps to a builder.
type randomProgram struct {
	r       *rand.Rand
	b       *stream.Builder
	streams []randomStream
	rows    table.KTable[string, string]
	outs    []randomOutput
	n       int
}

// randomStream is a stream, and what is known of the records that one record of an input leads to
// in it. They keep their order as long as they have the same key wherever a repartition topic may
// be: records of different keys are in different partitions of it, and in different tasks behind it,
// and a later step may set the same key for them again. Merging moves topics, and so this order. Kafka
// Streams promises none there either: streams that are merged have no order between them, and
// records are in order within one partition only.
type randomStream struct {
	strs
	inputs    int  // a bit for each topic that it follows from
	several   bool // one record of an input may lead to several here
	unordered bool // and they may have had different keys, or none
}

// with returns s after a step.
func (s randomStream) with(next strs) randomStream {
	s.strs = next
	return s
}

// mayLoseKeys returns s after a step that removes keys: such records go to any partition.
func (s randomStream) mayLoseKeys() randomStream {
	s.unordered = s.unordered || s.several
	return s
}

// merge merges two streams. If they have an input in common, its records have come on two ways, on
// which they may have got different keys.
func (s randomStream) merge(other randomStream) randomStream {
	return randomStream{
		strs:      stream.Merge(s.strs, other.strs),
		inputs:    s.inputs | other.inputs,
		several:   s.several || other.several || s.inputs&other.inputs != 0,
		unordered: s.unordered || other.unordered,
	}.mayLoseKeys()
}

// randomOutput is a topic that the program writes.
type randomOutput struct {
	name      string
	unordered bool // what one record of an input leads to is in any order
	lastOnly  bool // and of an unordered output only the last record for each key does not depend on it
}

// read returns what the last record of an input has led to, for each key.
func (o randomOutput) read(d *testdriver.Driver) map[string][]string {
	got := map[string][]string{}
	for _, x := range testdriver.Output(d, text(o.name)).Read() {
		got[x.Key] = append(got[x.Key], fmt.Sprint(x.Value, x.Tombstone, x.NoKey, x.Time.UnixMilli()))
	}
	for key, records := range got {
		switch {
		case o.unordered && o.lastOnly:
			got[key] = []string{fmt.Sprintf("%d records, the last of them %s", len(records), records[len(records)-1])}
		case o.unordered:
			slices.Sort(records)
		}
	}
	return got
}

func (p *randomProgram) name(kind string) string {
	p.n++
	return fmt.Sprint(kind, p.n)
}

func (p *randomProgram) out(s randomStream) { p.outOf(s, false) }

func (p *randomProgram) outOf(s randomStream, lastOnly bool) {
	name := p.name("out")
	p.outs = append(p.outs, randomOutput{name, s.unordered, lastOnly})
	stream.To(s.strs, text(name))
}

// pick returns a stream, mostly one of the last.
func (p *randomProgram) pick() randomStream {
	return p.streams[len(p.streams)-1-p.r.IntN(min(3, len(p.streams)))]
}

func (p *randomProgram) add(s ...randomStream) { p.streams = append(p.streams, s...) }

func (p *randomProgram) step() {
	s := p.pick()
	first := func(_, v string) string { return v[:min(1, len(v))] }
	switch p.r.IntN(14) {
	case 0, 1:
		p.add(s.with(stream.SelectKey(s.strs, first)))
	case 2:
		p.add(s.mayLoseKeys().with(stream.MapRecords(s.strs, func(r rec) rec {
			if r.Tombstone || r.Value != "" && r.Value[0] == 'a' {
				return r.Keyless()
			}
			return stream.WithKey(r, r.Value[:1])
		})))
	case 3:
		p.add(s.with(stream.Filter(s.strs, func(k, _ string) bool { return k != "b" })))
	case 4:
		p.add(s.with(stream.Peek(s.strs, func(rec) {})))
	case 5:
		yes, no := stream.Branch(s.strs, func(r rec) bool { return r.Key < "c" })
		p.add(s.with(yes), s.with(no))
	case 6:
		p.add(s.with(stream.MapValues(s.strs, func(v string) string { return v + "!" })))
	case 7:
		p.add(s.merge(p.pick()))
	case 8:
		// Two records from one, which have the same key after each of the other steps.
		twice := s.with(stream.FlatMapValues(s.strs, func(v string) iter.Seq[string] {
			return slices.Values([]string{v + "?", v + "."})
		}))
		twice.several = true
		p.add(twice)
	case 9:
		p.out(s)
	case 10:
		n := table.Count(stream.GroupByKey(s.strs), p.name("count"))
		p.out(s.with(stream.MapValues(table.ToStream(n), func(n int64) string { return fmt.Sprint(n) })))
	case 11:
		add := func(a, v string) string { return a + v }
		if s.unordered {
			add = func(a, v string) string {
				all := append(strings.Split(a, ","), v)
				slices.Sort(all)
				return strings.Join(all, ",")
			}
		}
		p.outOf(s.with(table.ToStream(table.Reduce(stream.GroupByKey(s.strs), p.name("reduce"), add))), true)
	case 12:
		left := func(v, t string, _ bool) string { return v + "+" + t }
		p.out(s.with(join.StreamTableLeft(s.strs, p.rows, p.name("left"), left)))
	default:
		inner := func(v, t string) string { return v + "+" + t }
		p.out(s.with(join.StreamTable(s.strs, p.rows, p.name("join"), inner)))
	}
}
