package topology

import (
	"fmt"
	"strings"
)

// shape is the kind of a figure.
type shape int

const (
	stepShape shape = iota
	topicShape
	storeShape
)

// drawing is a topology as figures and lines, which Mermaid and DOT are written from.
type drawing struct {
	subs    []drawnSub
	topics  []figure // outside the sub-topologies, which they connect
	lines   []line
	figures map[string]string // ids by kind and name
}

type drawnSub struct {
	id      int
	figures []figure
}

type figure struct {
	shape     shape
	id, label string
}

type line struct {
	from, to, label string
	dotted          bool // to a store
}

// language is how a drawing is written, line by line.
type language struct {
	begin, end string
	sub        func(id int) string
	subEnd     string
	figure     func(figure) string
	line       func(line) string
}

// write draws t in a language.
func (t *Topology) write(in language) string {
	var b strings.Builder
	b.WriteString(in.begin)
	d := t.draw()
	for _, s := range d.subs {
		b.WriteString(in.sub(s.id))
		for _, f := range s.figures {
			b.WriteString("  " + in.figure(f))
		}
		b.WriteString(in.subEnd)
	}
	for _, f := range d.topics {
		b.WriteString(in.figure(f))
	}
	for _, l := range d.lines {
		b.WriteString(in.line(l))
	}
	b.WriteString(in.end)
	return b.String()
}

func (t *Topology) draw() drawing {
	d := drawing{figures: map[string]string{}}
	subs := t.Subtopologies()
	for _, s := range subs {
		sub := drawnSub{id: s.ID}
		for _, n := range s.Nodes {
			sub.figures = append(sub.figures, d.figure(stepShape, n.Name, n.label()))
		}
		for _, st := range s.Stores {
			sub.figures = append(sub.figures, d.figure(storeShape, st.Name, st.Name+st.details()))
		}
		d.subs = append(d.subs, sub)
	}
	for _, s := range subs {
		for _, n := range s.Nodes {
			d.connect(n)
		}
	}
	return d
}

// label is the name of a step, with its operation where a generated name does not tell it.
func (n Node) label() string {
	if strings.HasPrefix(n.Name, n.Op+"-") {
		return n.Name
	}
	return n.Op + " " + n.Name
}

func (d *drawing) figure(s shape, name, label string) figure {
	prefix := [...]string{"n", "t", "s"}[s]
	id := fmt.Sprintf("%s%d", prefix, len(d.figures))
	d.figures[prefix+" "+name] = id
	return figure{s, id, label}
}

func (d *drawing) connect(n Node) {
	id := d.figures["n "+n.Name]
	topics := n.Topics
	if n.Pattern != "" {
		topics = []string{n.topics()}
	}
	for _, name := range topics {
		from, to := d.topic(name), id
		if len(n.Outputs) == 0 {
			from, to = to, from
		}
		d.lines = append(d.lines, line{from: from, to: to})
	}
	for _, o := range n.Outputs {
		for _, c := range o.Children {
			d.lines = append(d.lines, line{from: id, to: d.figures["n "+c], label: o.Name})
		}
	}
	for _, s := range n.Stores {
		d.lines = append(d.lines, line{from: id, to: d.figures["s "+s], dotted: true})
	}
}

func (d *drawing) topic(name string) string {
	if id, ok := d.figures["t "+name]; ok {
		return id
	}
	f := d.figure(topicShape, name, name)
	d.topics = append(d.topics, f)
	return f.id
}
