package topology

import (
	"fmt"
	"strings"
)

// DOT draws t in the language of Graphviz: boxes are steps, ellipses topics, cylinders stores.
func (t *Topology) DOT() string {
	var b strings.Builder
	b.WriteString("digraph topology {\n")
	d := t.draw()
	for _, s := range d.subs {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label = \"sub-topology %d\"\n", s.id, s.id)
		for _, f := range s.figures {
			b.WriteString("  " + f.dot())
		}
		b.WriteString("  }\n")
	}
	for _, f := range d.topics {
		b.WriteString(f.dot())
	}
	for _, l := range d.lines {
		attributes := ""
		switch {
		case l.dotted:
			attributes = " [style = dotted, dir = none]"
		case l.label != "":
			attributes = " [label = " + dotText(l.label) + "]"
		}
		fmt.Fprintf(&b, "  %s -> %s%s\n", l.from, l.to, attributes)
	}
	b.WriteString("}\n")
	return b.String()
}

func (f figure) dot() string {
	form := [...]string{stepShape: "box", topicShape: "ellipse", storeShape: "cylinder"}[f.shape]
	return fmt.Sprintf("  %s [label = %s, shape = %s]\n", f.id, dotText(f.label), form)
}

// dotText quotes s: in a DOT string only the quote ends it, and a backslash begins an escape.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
