package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Describe describes t in the format of Kafka Streams' Topology.describe(), for tools that read it
// and for comparison with a Java program. Names are this library's: what Kafka Streams numbers is
// named after what it does.
//
// Within a sub-topology, steps are sorted by the number of steps that follow from them, largest
// first, then by name, and so are the names after an arrow. String also shows the outputs of
// processors and where stores are kept.
func (t *Topology) Describe() string {
	var b strings.Builder
	b.WriteString("Topologies:\n ")
	for _, s := range t.Subtopologies() {
		b.WriteString("  ")
		s.describe(&b)
	}
	return b.String()
}

func (s Subtopology) describe(b *strings.Builder) {
	d := describing(s)
	fmt.Fprintf(b, "Sub-topology: %d", s.ID)
	if s.Global {
		b.WriteString(" for global store (will not generate tasks)")
	}
	b.WriteByte('\n')
	for _, n := range s.Nodes {
		d.writeNode(b, n)
	}
	if !s.Global {
		b.WriteByte('\n')
	}
}

// described is a sub-topology that is being described.
type described struct {
	localStores map[string]bool // global ones that a step reads are not listed
	children    map[string][]string
	weight      map[string]int // of a node and all nodes downstream; those on two paths count twice
}

// describing sorts the nodes of s in the order of the description.
func describing(s Subtopology) described {
	d := described{localStores: map[string]bool{}, children: map[string][]string{}, weight: map[string]int{}}
	for _, st := range s.Stores {
		d.localStores[st.Name] = true
	}
	for _, n := range slices.Backward(s.Nodes) { // children come after their parents
		d.weight[n.Name] = 1
		for _, o := range n.Outputs {
			for _, c := range o.Children {
				d.weight[n.Name] += d.weight[c]
				d.children[n.Name] = append(d.children[n.Name], c)
			}
		}
	}
	slices.SortFunc(s.Nodes, func(x, y Node) int { return d.compare(x.Name, y.Name) })
	return d
}

func (d described) compare(x, y string) int {
	return cmp.Or(d.weight[y]-d.weight[x], cmp.Compare(x, y))
}

func (d described) writeNode(b *strings.Builder, n Node) {
	switch {
	case n.Op == "source":
		fmt.Fprintf(b, "    Source: %s (topics: %s)\n", n.Name, cmp.Or(n.Pattern, bracketed(n.Topics)))
	case n.Op != "sink":
		fmt.Fprintf(b, "    Processor: %s (stores: %s)\n", n.Name, bracketed(
			slices.DeleteFunc(slices.Clone(n.Stores), func(s string) bool { return !d.localStores[s] }),
		))
	case len(n.Topics) == 0:
		fmt.Fprintf(b, "    Sink: %s (extractor class: a function of the program)\n", n.Name)
	default:
		fmt.Fprintf(b, "    Sink: %s (topic: %s)\n", n.Name, n.Topics[0])
	}
	if n.Op != "sink" {
		b.WriteString("      --> " + d.joinNames(d.children[n.Name]) + "\n")
	}
	if n.Op != "source" {
		b.WriteString("      <-- " + d.joinNames(n.Parents) + "\n")
	}
}

func (d described) joinNames(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	sorted := slices.Clone(names)
	slices.SortFunc(sorted, d.compare)
	return strings.Join(slices.Compact(sorted), ", ")
}

func bracketed(names []string) string { return "[" + strings.Join(names, ", ") + "]" }
