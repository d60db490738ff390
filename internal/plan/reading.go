package plan

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/graph"
)

// sourceTopics remembers what has a source, since a topic is read once.
type sourceTopics struct {
	topics  []string // sorted
	pattern *regexp.Regexp
	as      Reading
	how     string // the same for readings that can share a source
	name    string // given to the source, empty when generated
	node    *Node
	port    port
}

// Reading is what a source makes of what it reads. Only streams can share a source.
type Reading uint8

// The readings.
const (
	AsStream Reading = iota
	AsTable
	AsStore  // a store that is kept from the topic
	AsGlobal // a global table or store
)

// String says it as errors do.
func (r Reading) String() string {
	return [...]string{"a stream", "a table", "a read-only store", "a global table or store"}[r]
}

// Source emits the source of topics for the current call, as its output i; where there is a pattern it is that of all topics whose
// whole names match, which the one topic given describes. A second source of the same topics shares the first one's node, as in
// Kafka Streams: every record is read once.
func Source[K, V any](c *Compile, i int, name string, table bool, topics []Topic[K, V], pattern string) error {
	as := AsStream
	if table {
		as = AsTable
	}
	return SourceAs(c, i, name, as, topics, pattern)
}

// SourceAs is Source for all readings.
func SourceAs[K, V any](c *Compile, i int, name string, as Reading, topics []Topic[K, V], pattern string) error {
	s, err := reading(topics, pattern)
	if err != nil {
		return err
	}
	s.name, s.node, s.as = name, c.at, as
	for _, other := range c.sources {
		if shared, err := s.meets(other); err != nil {
			return err
		} else if shared {
			c.ports[Out{c.at, i}] = other.port
			return nil
		}
	}
	t := topics[0]
	g := &graph.Node{Op: "source", Kind: graph.Source, Source: &graph.SourceSpec{
		Topics: s.topics, Pattern: pattern, Global: as == AsGlobal, Offset: t.Start, Policy: t.Decode, Open: open(topics),
	}}
	if err := c.Add(name, g); err != nil {
		return err
	}
	Gives[K, V](c, i, g, "")
	s.port = c.ports[Out{c.at, i}]
	c.sources = append(c.sources, s)
	return nil
}

// reading says what is read, or what is wrong with it.
func reading[K, V any](topics []Topic[K, V], pattern string) (*sourceTopics, error) {
	if len(topics) == 0 {
		return nil, errors.New("it reads no topic")
	}
	s, err := &sourceTopics{}, error(nil)
	if pattern != "" {
		err = errors.Join(s.match(pattern), topics[0].CheckSerdes(), topics[0].checkPolicy())
	} else {
		err = named(s, topics)
	}
	if err != nil {
		return nil, err
	}
	for _, t := range topics[1:] {
		if t.Start != topics[0].Start || t.Decode.String() != topics[0].Decode.String() {
			return nil, fmt.Errorf("topics %q and %q differ in StartAt or OnDecodeError: read them apart and merge the streams", topics[0].Name, t.Name)
		}
	}
	for _, t := range slices.SortedFunc(slices.Values(topics), func(x, y Topic[K, V]) int { return strings.Compare(x.Name, y.Name) }) {
		s.how += t.how()
	}
	return s, nil
}

func (s *sourceTopics) match(pattern string) (err error) {
	if s.pattern, err = regexp.Compile("^(?:" + pattern + ")$"); err != nil {
		return fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return nil
}

func named[K, V any](s *sourceTopics, topics []Topic[K, V]) error {
	var errs []error
	for _, t := range topics {
		errs = append(errs, t.Check(), t.checkPolicy())
		if slices.Contains(s.topics, t.Name) {
			errs = append(errs, fmt.Errorf("topic %q is given twice", t.Name))
		}
		s.topics = append(s.topics, t.Name)
	}
	slices.Sort(s.topics)
	return errors.Join(errs...)
}

// how describes what must be equal where two readings share a source. Functions are told apart by their code: a closure over other
// variables is not.
func (t Topic[K, V]) how() string {
	return fmt.Sprintf("%T %T %T %x %v %v;", t, t.Key, t.Value, reflect.ValueOf(t.Extract).Pointer(), t.Decode, t.Start)
}

// meets says whether s can share the source of other, or why both cannot be read.
func (s *sourceTopics) meets(other *sourceTopics) (shared bool, err error) {
	if s.pattern != nil && other.pattern != nil && s.pattern.String() != other.pattern.String() {
		return false, nil // whether they overlap is seen when a topic matches both
	}
	topic, both := s.common(other)
	switch {
	case !both:
		return false, nil
	case s.as != other.as && max(s.as, other.as) > AsTable:
		return false, fmt.Errorf("%s is read as %v, and as %v at %s; a topic can be read in one way only", topic, s.as, other.as, other.node.pos)
	case s.as != other.as:
		return false, fmt.Errorf("%s is read as a stream and as a table, at %s; read it once: table.ToStream and table.ToTable make one of the other", topic, other.node.pos)
	case s.as == AsTable:
		return false, fmt.Errorf("%s is read as a table at %s already; use that handle twice", topic, other.node.pos)
	case s.as != AsStream:
		return false, fmt.Errorf("%s is read as %v at %s already; use its handle or its reference twice", topic, s.as, other.node.pos)
	case !slices.Equal(s.topics, other.topics) || (s.pattern == nil) != (other.pattern == nil):
		return false, fmt.Errorf("%s is read at %s already, with another set of topics; read each topic once and merge the streams", topic, other.node.pos)
	case s.how != other.how:
		return false, fmt.Errorf("%s is read at %s already, with other types, serdes or settings; use one stream.Topic for both", topic, other.node.pos)
	case s.name != "" && s.name != other.name:
		return false, fmt.Errorf("%s is read at %s already, under another name; use that handle twice", topic, other.node.pos)
	}
	return true, nil
}

// common returns a topic that s and other both read.
func (s *sourceTopics) common(other *sourceTopics) (string, bool) {
	if s.pattern != nil && other.pattern != nil {
		return fmt.Sprintf("pattern %q", s.text()), true
	}
	for _, t := range s.topics {
		if slices.Contains(other.topics, t) || other.pattern != nil && other.pattern.MatchString(t) {
			return fmt.Sprintf("topic %q", t), true
		}
	}
	for _, t := range other.topics {
		if s.pattern != nil && s.pattern.MatchString(t) {
			return fmt.Sprintf("topic %q", t), true
		}
	}
	return "", false
}

// text returns the pattern as it was given.
func (s *sourceTopics) text() string {
	p := s.pattern.String()
	return p[len("^(?:") : len(p)-len(")$")]
}
