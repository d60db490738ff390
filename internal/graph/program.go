package graph

import (
	"fmt"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
)

// Program returns what the committed offsets remember of the program.
func (g *Graph) Program() offsetmeta.Program {
	p := offsetmeta.NewProgram()
	for _, t := range g.Topics {
		p.Put(t.Name, nil)
	}
	for _, s := range g.Stores {
		if s.Changelog {
			t := s.Type()
			p.Put(ChangelogName(s.Name), &t)
		}
	}
	return p
}

// ProgramEntry returns the name of the entry that remembers the program in the offset metadata of a
// sub-topology's task, beside the operators' times. It fails if both together exceed what brokers
// store with an offset.
func (g *Graph) ProgramEntry(sub int) (string, error) {
	var operators []string
	for _, n := range g.Subtopologies[sub].Nodes {
		if n.TracksTime {
			operators = append(operators, offsetmeta.OperatorKey(n.Name))
		}
	}
	if err := offsetmeta.Check(operators, offsetmeta.Program{}, offsetmeta.MaxSize); err != nil {
		return "", err
	}
	return g.Program().Entry(offsetmeta.NameRoom(operators, offsetmeta.MaxSize))
}

// CarriesProgram reports whether the offsets of a task remember the program. One task of each
// sub-topology is enough, and the commits of the others stay short.
func CarriesProgram(id TaskID) bool { return id.Partition == 0 }

// Type describes the rows of the store. Stores with equal types can read each other's bytes.
func (s *Store) Type() offsetmeta.Type {
	layout := s.Format
	if layout == "" {
		layout = [...]string{
			Timestamped: "key-value", Plain: "key-value", Window: "window", Session: "session", Versioned: "versioned",
		}[s.Kind]
	}
	switch {
	case s.Duplicates:
		layout += " with duplicates" // these are kept by time: the size is that of no row
	case s.Kind == Window:
		layout += " " + shortDuration(s.Size)
	}
	return offsetmeta.Type{Layout: layout, Key: s.KeyFormat, Value: s.ValueFormat}
}

// shortDuration writes 1h0m0s as 1h: a metadata string has many of these.
func shortDuration(d time.Duration) string {
	s := fmt.Sprint(d)
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
