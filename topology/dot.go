package topology

import (
	"fmt"
	"strings"
)

// DOT draws t in the language of Graphviz: boxes are steps, ellipses topics, cylinders stores.
func (t *Topology) DOT() string {
	return t.write(language{
		begin: "digraph topology {\n", end: "}\n",
		sub: func(id int) string {
			return fmt.Sprintf("  subgraph cluster_%d {\n    label = \"sub-topology %d\"\n", id, id)
		},
		subEnd: "  }\n", figure: figure.dot, line: line.dot,
	})
}

func (f figure) dot() string {
	form := [...]string{stepShape: "box", topicShape: "ellipse", storeShape: "cylinder"}[f.shape]
	return fmt.Sprintf("  %s [label = %s, shape = %s]\n", f.id, dotText(f.label), form)
}

func (l line) dot() string {
	attributes := ""
	switch {
	case l.dotted:
		attributes = " [style = dotted, dir = none]"
	case l.label != "":
		attributes = " [label = " + dotText(l.label) + "]"
	}
	return fmt.Sprintf("  %s -> %s%s\n", l.from, l.to, attributes)
}

// dotText quotes s: in a DOT string only the quote ends it, and a backslash begins an escape.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
