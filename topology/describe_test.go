package topology_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files again")

func text(name string) stream.Topic[string, string] {
	return stream.NewTopic(name, serde.String, serde.String)
}

// program has one of everything that a description shows.
func program(t *testing.T) *topology.Topology {
	type rec = stream.Record[string, string]
	b := stream.NewBuilder()
	late := stream.NewOutput("late", serde.String, serde.String)
	seen := store.NewKeyValue("seen", serde.String, serde.String)
	cache := store.NewKeyValue("cache", serde.String, serde.String, store.InMemory(), store.NoChangelog())
	all := stream.Merge(stream.From(b, text("web"), text("shop")).Named("sales"),
		stream.FromPattern(b, stream.NewPattern(`old-"\d+"`, serde.String, serde.String)))
	p := stream.Process(all, "watch", func(c *stream.Context[string, string]) (func(rec) error, error) {
		return func(rec) error { return nil }, nil
	}, seen, cache, late)
	stream.To(stream.Side(p, late), text("late")).Named("late-sink")
	big, small := stream.Branch(stream.Repartition(p, "by-key"), func(rec) bool { return true })
	stream.To(big.Named("big"), text("big"))
	stream.ToFunc(small, text(""), func(rec) string { return "small" })
	stream.ForEach(small, func(rec) {})
	top, err := b.Build()
	require.NoError(t, err)
	return top
}

func TestDescribe_AllFormats(t *testing.T) {
	top := program(t)
	for file, got := range map[string]string{"program.txt": top.String(), "program.mmd": top.Mermaid(), "program.dot": top.DOT(), "program.kafka.txt": top.Describe()} {
		path := filepath.Join("testdata", file)
		if *rewrite {
			require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, string(want), got, file)
	}
}

func TestSubtopologies_ListsNodesAndStores(t *testing.T) {
	subs := program(t).Subtopologies()
	require.Len(t, subs, 2)
	assert.Equal(t, 1, subs[1].ID)
	assert.Equal(t, []topology.Store{{Name: "seen", Changelog: true}, {Name: "cache", InMemory: true}}, subs[0].Stores)
	source := subs[0].Nodes[0]
	assert.Contains(t, source.Pos, "describe_test.go:")
	source.Pos = ""
	assert.Equal(t, topology.Node{Name: "sales", Op: "source", Topics: []string{"shop", "web"}, Outputs: []topology.Output{{Children: []string{"merge-1"}}}}, source)
	branch := subs[1].Nodes[1]
	assert.Equal(t, []topology.Output{{Name: "big", Children: []string{"sink-1"}}, {Name: "no", Children: []string{"sink-2", "for-each-1"}}}, branch.Outputs)
	assert.Equal(t, []string{"by-key-repartition-source"}, branch.Parents)
}

// A program's shape beside a Java program's: Describe has the format of Kafka Streams.
func ExampleTopology_Describe() {
	b := stream.NewBuilder()
	lines := stream.From(b, text("lines")).Named("lines")
	stream.To(stream.Filter(lines, func(_, line string) bool { return line != "" }).Named("not-empty"), text("kept")).Named("kept")
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	fmt.Print(top.Describe())
	// Output:
	// Topologies:
	//    Sub-topology: 0
	//     Source: lines (topics: [lines])
	//       --> not-empty
	//     Processor: not-empty (stores: [])
	//       --> kept
	//       <-- lines
	//     Sink: kept (topic: kept)
	//       <-- not-empty
}
