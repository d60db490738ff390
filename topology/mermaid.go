package topology

import (
	"fmt"
	"strings"
)

// Mermaid draws t as a Mermaid flowchart, which GitHub shows in Markdown: boxes are steps, round ones topics, cylinders stores.
func (t *Topology) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	d := t.draw()
	for _, s := range d.subs {
		fmt.Fprintf(&b, "  subgraph sub%d [sub-topology %d]\n", s.id, s.id)
		for _, f := range s.figures {
			b.WriteString("  " + f.mermaid())
		}
		b.WriteString("  end\n")
	}
	for _, f := range d.topics {
		b.WriteString(f.mermaid())
	}
	for _, l := range d.lines {
		arrow := " --> "
		switch {
		case l.dotted:
			arrow = " -.- "
		case l.label != "":
			arrow = ` -->|"` + mermaidText(l.label) + `"| `
		}
		b.WriteString("  " + l.from + arrow + l.to + "\n")
	}
	return b.String()
}

func (f figure) mermaid() string {
	form := [...]string{stepShape: `["%s"]`, topicShape: `(["%s"])`, storeShape: `[("%s")]`}[f.shape]
	return fmt.Sprintf("  %s"+form+"\n", f.id, mermaidText(f.label))
}

// mermaidText writes what would end a quoted text, or be taken for an entity, as an entity.
func mermaidText(s string) string {
	return strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;").Replace(s)
}
