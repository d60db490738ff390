package topology

import (
	"fmt"
	"strings"
)

// Mermaid draws t as a Mermaid flowchart, which GitHub shows in Markdown: boxes are steps, round
// ones topics, cylinders stores.
func (t *Topology) Mermaid() string {
	return t.write(language{
		begin:  "flowchart TD\n",
		sub:    func(id int) string { return fmt.Sprintf("  subgraph sub%d [sub-topology %d]\n", id, id) },
		subEnd: "  end\n", figure: figure.mermaid, line: line.mermaid,
	})
}

func (f figure) mermaid() string {
	form := [...]string{stepShape: `["%s"]`, topicShape: `(["%s"])`, storeShape: `[("%s")]`}[f.shape]
	return fmt.Sprintf("  %s"+form+"\n", f.id, mermaidText(f.label))
}

func (l line) mermaid() string {
	arrow := " --> "
	switch {
	case l.dotted:
		arrow = " -.- "
	case l.label != "":
		arrow = ` -->|"` + mermaidText(l.label) + `"| `
	}
	return "  " + l.from + arrow + l.to + "\n"
}

// mermaidText writes what would end a quoted text, or be taken for an entity, as an entity.
func mermaidText(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;").Replace(s)
}
