package conformance

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDescribe compares what Build made of each topology with what Kafka Streams says of it: how many sub-topologies there are, which
// topics each of them reads and writes, and which stores it has. Names that a program gives have to be the same. Names that Kafka Streams
// generates, with counters, may be others, but each of ours stands for one of them, at the same places.
func TestDescribe(t *testing.T) {
	known, ours := specs(t), programs()
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		t.Run(name, func(t *testing.T) {
			theirs, made := parse(t, known[name].Describe), parse(t, ours[name].topology(t).Describe())
			given := theirs.given()
			assert.Equal(t, theirs.forms(given), made.forms(given))
			assert.Equal(t, theirs.places(given), made.places(given), "names that are generated stand for each other")
		})
	}
}

// TestDescribe_FindsDifferences has the comparison find what it is for.
func TestDescribe_FindsDifferences(t *testing.T) {
	const text = `Topologies:
   Sub-topology: 0
    Source: s (topics: [in])
      --> k
    Processor: k (stores: [])
      --> o
      <-- s
    Sink: o (topic: X-0000000001-repartition)
      <-- k

  Sub-topology: 1
    Source: r (topics: [X-0000000001-repartition, Y-0000000002-repartition])
      --> p
    Processor: p (stores: [given, X-0000000001])
      --> none
      <-- r

`
	theirs := parse(t, text)
	given := theirs.given()
	differs := func(edit ...string) bool {
		ours := parse(t, strings.NewReplacer(edit...).Replace(text))
		return !slices.Equal(theirs.forms(given), ours.forms(given)) || !slices.Equal(theirs.places(given), ours.places(given))
	}
	assert.False(t, differs("X-0000000001", "ours", "Y-0000000002", "other", "Source: s", "Source: source-1"), "generated names")
	assert.True(t, differs("[given, X-0000000001]", "[given]"), "a store less")
	assert.True(t, differs("given", "another"), "another name where one is given")
	assert.True(t, differs("  Sub-topology: 1\n", ""), "one sub-topology")
	assert.True(t, differs("topics: [in]", "topics: [in, in2]"), "a topic more")
	assert.True(t, differs("[X-0000000001-repartition, Y-0000000002-repartition]", "[Z, Y]", "X-0000000001-repartition", "X-topic"), "another topic is read than is written")
}

// generated finds the counters in names that Kafka Streams makes.
var generated = regexp.MustCompile(`\d{10}`)

// described is a description, read.
type described []part

// part is a sub-topology.
type part struct {
	global                bool
	reads, writes, stores []string
}

var line = regexp.MustCompile(`^    (Source|Processor|Sink): (\S+) \((topics|stores|topic|extractor class): (.*)\)$`)

// parse reads a description in the format of Kafka Streams.
func parse(t *testing.T, text string) (d described) {
	t.Helper()
	for _, s := range strings.Split(text, "\n") {
		if _, head, ok := strings.Cut(s, "Sub-topology: "); ok {
			d = append(d, part{global: strings.Contains(head, "for global store")})
		}
		m := line.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		require.NotEmpty(t, d, "%q stands before the first sub-topology", s)
		d[len(d)-1].add(m[3], m[4])
	}
	for i := range d {
		d[i].stores = slices.Compact(slices.Sorted(slices.Values(d[i].stores)))
	}
	return d
}

func (p *part) add(what, text string) {
	switch list, isList := strings.CutPrefix(text, "["); {
	case what == "stores" && list == "]":
	case what == "stores":
		p.stores = append(p.stores, strings.Split(strings.TrimSuffix(list, "]"), ", ")...)
	case what == "topics" && isList:
		p.reads = append(p.reads, strings.Split(strings.TrimSuffix(list, "]"), ", ")...)
	case what == "topics":
		p.reads = append(p.reads, "like "+text)
	case what == "topic":
		p.writes = append(p.writes, text)
	default:
		p.writes = append(p.writes, "chosen")
	}
}

// names visits the names of a sub-topology, with what they are there.
func (p part) names(visit func(what, name string)) {
	for _, n := range p.reads {
		visit("reads", n)
	}
	for _, n := range p.writes {
		visit("writes", n)
	}
	for _, n := range p.stores {
		visit("keeps", n)
	}
}

// given returns the names without counters: those that the program gave.
func (d described) given() map[string]bool {
	out := map[string]bool{}
	for _, p := range d {
		p.names(func(what, name string) { out[kept(what, name)] = !generated.MatchString(name) })
	}
	return out
}

// kept tells names of stores from those of topics: a store may be called like a topic.
func kept(what, name string) string {
	if what == "keeps" {
		return "store " + name
	}
	return name
}

// form says what a sub-topology does, with only the kinds of names that are not given.
func (p part) form(given map[string]bool) string {
	var out []string
	p.names(func(what, name string) {
		if !given[kept(what, name)] {
			name = "*" + suffix(name)
		}
		out = append(out, what+" "+name)
	})
	slices.Sort(out)
	if p.global {
		out = append([]string{"global"}, out...)
	}
	return strings.Join(out, ", ")
}

// suffix is the part of a generated name that says what it is.
func suffix(name string) string {
	for _, s := range []string{"-repartition", "-topic"} {
		if strings.HasSuffix(name, s) {
			return s
		}
	}
	return ""
}

func (d described) forms(given map[string]bool) []string {
	var out []string
	for _, p := range d {
		out = append(out, p.form(given))
	}
	slices.Sort(out)
	return out
}

// places returns for each name that is not given where it occurs.
func (d described) places(given map[string]bool) []string {
	at := map[string][]string{}
	for _, p := range d {
		form := p.form(given)
		p.names(func(what, name string) {
			if !given[kept(what, name)] {
				at[name] = append(at[name], fmt.Sprintf("%s in [%s]", what, form))
			}
		})
	}
	var out []string
	for _, where := range at {
		slices.Sort(where)
		out = append(out, strings.Join(where, "; "))
	}
	slices.Sort(out)
	return out
}

// TestDescribe_IsWrittenAsByKafkaStreams compares descriptions letter by letter, but for the names of some steps and the numbers of
// sub-topologies: global ones come last here.
func TestDescribe_IsWrittenAsByKafkaStreams(t *testing.T) {
	known, ours := specs(t), programs()
	for name, names := range map[string][]string{
		"named-pipeline": {": agg ", ": win ", "--> agg", "--> win", "<-- agg", "<-- win", ": sup ", ": sup-store ", "--> sup", "--> sup-store", "<-- sup", "<-- sup-store"},
		"global-table-inner-join-by-value": {
			"KSTREAM-SOURCE-0000000001", "global-rows-source", "KTABLE-SOURCE-0000000002", "global-rows", "global-STATE-STORE-0000000000", "global-rows",
			"KSTREAM-SOURCE-0000000003", "source-1", "KSTREAM-LEFTJOIN-0000000004", "global-join-1", "KSTREAM-SINK-0000000005", "sink-1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			theirs, made := strings.NewReplacer(names...).Replace(known[name].Describe), ours[name].topology(t).Describe()
			assert.Equal(t, subTexts(theirs), subTexts(made))
		})
	}
}

var subHead = regexp.MustCompile(`Sub-topology: \d+`)

// subTexts returns the text of each sub-topology, and what stands before the first.
func subTexts(text string) []string {
	parts := subHead.Split(text, -1)
	for i := range parts {
		parts[i] = strings.TrimSuffix(parts[i], "  ") // in front of the next
	}
	slices.Sort(parts)
	return parts
}
