package conformance

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

var (
	dir     = flag.String("vectors", "testdata", "directory of the vectors to replay")
	rewrite = flag.Bool("rewrite", false, "rewrite testdata/not-implemented.txt")
)

// program is a topology written with our DSL.
type program struct {
	build   func(b *stream.Builder)
	builder []stream.BuilderOption
	options []testdriver.Option
	numbers []string // stores whose values are 64-bit integers
}

func (p program) topology(t *testing.T) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder(p.builder...)
	p.build(b)
	top, err := b.Build()
	require.NoError(t, err)
	return top
}

// programs are the topologies that are written, by name.
func programs() map[string]program {
	all := map[string]program{}
	for _, group := range []map[string]program{
		stateless,
		processing,
		aggregations,
		tables,
		tableJoins,
		tableGroups,
		foreignKeys,
		streamTable,
		streamStream,
		stores,
		names,
		globals,
		suppressions,
		timeWindows,
		slidingWindows,
		sessionWindows,
		emitOnClose,
		cogroups,
	} {
		for name, p := range group {
			if _, twice := all[name]; twice {
				panic("topology " + name + " is written twice")
			}
			all[name] = p
		}
	}
	return all
}

// TestVectors replays what Kafka Streams did.
func TestVectors(t *testing.T) {
	known, ours := specs(t), programs()
	var passed, all, missing int
	var red []string
	for _, v := range vectors(t, *dir) {
		s, ok := known[v.Topology]
		require.True(t, ok, "topology %q is not in topologies.json", v.Topology)
		p, ok := ours[v.Topology]
		if !ok {
			missing++
			continue
		}
		all++
		name := v.Topology + "." + v.Timeline
		if t.Run(name, func(t *testing.T) { replay(t, s, p, v) }) {
			passed++
		} else {
			red = append(red, name)
		}
	}
	for _, name := range red {
		t.Errorf("red: %s", name)
	}
	t.Logf("passed %d of %d; %d are of topologies that are not implemented", passed, all, missing)
	require.NotZero(t, all, "no vector of an implemented topology in %s", *dir)
}

// refusals are the programs that Build must refuse, by name.
func refusals() map[string]func(*stream.Builder) {
	all := map[string]func(*stream.Builder){}
	for _, group := range []map[string]func(*stream.Builder){
		refused,
		refusedWindows,
		refusedSuppressions,
	} {
		maps.Copy(all, group)
	}
	return all
}

// uncompiled are topologies that Kafka Streams refuses, and that cannot be written with our types.
var uncompiled = []string{"emit-on-close-unlimited-windows"}

func TestVectors_UnlimitedWindowsHaveNoEmitOnClose(t *testing.T) {
	_, can := reflect.TypeFor[window.Time]().MethodByName("OnClose")
	assert.True(t, can)
	_, can = reflect.TypeFor[window.Landmark]().MethodByName("OnClose")
	assert.False(t, can)
}

// TestVectors_RefusedPrograms builds what Kafka Streams refuses.
func TestVectors_RefusedPrograms(t *testing.T) {
	known := specs(t)
	for name, build := range refusals() {
		t.Run(name, func(t *testing.T) {
			require.NotNil(t, known[name].BuildError)
			b := stream.NewBuilder()
			build(b)
			_, err := b.Build()
			require.Error(t, err, "Kafka Streams says: %s", known[name].BuildError.Message)
			assert.Contains(t, err.Error(), "_test.go:", "the mistake's place is missing")
		})
	}
}

// TestVectors_NotImplemented keeps the list of what is missing.
func TestVectors_NotImplemented(t *testing.T) {
	const file = "testdata/not-implemented.txt"
	var missing strings.Builder
	known, ours, builds := specs(t), programs(), refusals()
	for _, name := range slices.Sorted(maps.Keys(known)) {
		_, written := ours[name]
		if _, build := builds[name]; !written && !build && !slices.Contains(uncompiled, name) {
			fmt.Fprintln(&missing, name)
		}
	}
	for name := range ours {
		assert.Contains(t, known, name, "a program that is no topology")
	}
	if *rewrite {
		require.NoError(t, os.WriteFile(file, []byte(missing.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), missing.String(), "%s is not what is missing; -rewrite renews it", file)
}
