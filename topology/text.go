package topology

import (
	"fmt"
	"strings"
)

// String describes t for people: each step with its topics, its stores and what follows it. Tests
// may compare it with what they have on file, to see when a program's topics or stores change; its
// form may change between minor versions.
func (t *Topology) String() string {
	var b strings.Builder
	for i, s := range t.Subtopologies() {
		if i > 0 {
			b.WriteByte('\n')
		}
		s.write(&b)
	}
	return b.String()
}

func (s Subtopology) write(b *strings.Builder) {
	fmt.Fprintf(b, "sub-topology %d%s\n", s.ID, s.kind())
	for _, n := range s.Nodes {
		fmt.Fprintf(b, "  %s%s\n", n.label(), n.details())
		for _, o := range n.Outputs {
			o.write(b)
		}
	}
	for _, st := range s.Stores {
		fmt.Fprintf(b, "  store %s%s\n", st.Name, st.details())
	}
}

func (s Subtopology) kind() string {
	if s.Global {
		return " (global: no tasks)"
	}
	return ""
}

func (o Output) write(b *strings.Builder) {
	if len(o.Children) == 0 {
		return
	}
	b.WriteString("    -> ")
	if o.Name != "" {
		b.WriteString(o.Name + ": ")
	}
	b.WriteString(strings.Join(o.Children, ", ") + "\n")
}

// details describes in parentheses what a node reads and writes. Most nodes have nothing.
func (n Node) details() string {
	var parts []string
	if t := n.topics(); t != "" {
		parts = append(parts, t)
	}
	if len(n.Stores) > 0 {
		parts = append(parts, plural("store", n.Stores))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

func (n Node) topics() string {
	switch {
	case n.Pattern != "":
		return "topics like " + n.Pattern
	case len(n.Topics) == 0 && n.Op == "sink":
		return "topic chosen for each record"
	case len(n.Topics) == 0:
		return ""
	case n.Internal:
		return "internal " + plural("topic", n.Topics)
	}
	return plural("topic", n.Topics)
}

func (s Store) details() string {
	var parts []string
	if s.InMemory {
		parts = append(parts, "in memory")
	}
	if s.Global {
		parts = append(parts, "global")
	}
	switch {
	case s.Topic != "":
		parts = append(parts, "restored from topic "+s.Topic)
	case !s.Changelog:
		parts = append(parts, "no changelog")
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func plural(what string, of []string) string {
	if len(of) > 1 {
		what += "s"
	}
	return what + " " + strings.Join(of, ", ")
}
