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

// sourceTopics is what one source reads. Each topic has at most one source.
type sourceTopics struct {
	topics   []string // sorted
	pattern  *regexp.Regexp
	reading  Reading
	settings string // equal for sources that can be shared
	name     string // given by the user; empty when generated
	node     *Node
	port     outputPort
}

// Reading is what a source's topics are read as. Only streams can share a source.
type Reading uint8

// The readings.
const (
	AsStream Reading = iota
	AsTable
	AsStore  // a read-only store
	AsGlobal // a global table or store
)

// String returns the reading as error messages name it.
func (r Reading) String() string {
	return [...]string{"a stream", "a table", "a read-only store", "a global table or store"}[r]
}

// Source adds the source of topics for the current call, as its output i. With a pattern it reads
// all topics whose whole names match, and the single topic given describes them. A second source of
// the same topics shares the first one's node, as in Kafka Streams: every record is read once.
func Source[K, V any](c *Compiler, i int, name string, table bool, topics []Topic[K, V], pattern string) error {
	as := AsStream
	if table {
		as = AsTable
	}
	return SourceAs(c, i, name, as, topics, pattern)
}

// SourceAs is Source for all readings.
func SourceAs[K, V any](
	compiler *Compiler, port int, name string, as Reading, topics []Topic[K, V], pattern string,
) error {
	source, err := newSourceTopics(topics, pattern)
	if err != nil {
		return err
	}
	source.name, source.node, source.reading = name, compiler.current, as
	// A topic has one source: two calls share it, or the program is wrong.
	for _, other := range compiler.sources {
		if shared, err := source.canShare(other); err != nil {
			return err
		} else if shared {
			compiler.ports[Out{compiler.current, port}] = other.port
			return nil
		}
	}
	t := topics[0]
	g := &graph.Node{Op: "source", Kind: graph.Source, Source: &graph.SourceSpec{
		Topics: source.topics, Pattern: pattern, Global: as == AsGlobal, Offset: t.Start, Policy: t.DecodePolicy,
		Open: openQueue(topics),
	}}
	if err := compiler.AddNode(name, g); err != nil {
		return err
	}
	registerExternal(compiler, g, topics)
	SetOutput[K, V](compiler, port, g, "")
	source.port = compiler.ports[Out{compiler.current, port}]
	compiler.sources = append(compiler.sources, source)
	return nil
}

// newSourceTopics returns what topics or the pattern describe, or what is wrong with them.
func newSourceTopics[K, V any](topics []Topic[K, V], pattern string) (*sourceTopics, error) {
	if len(topics) == 0 {
		return nil, errors.New("it reads no topic")
	}
	s, err := &sourceTopics{}, error(nil)
	if pattern != "" {
		err = errors.Join(s.compilePattern(pattern), topics[0].CheckSerdes(), topics[0].checkPolicy())
	} else {
		err = addTopics(s, topics)
	}
	if err != nil {
		return nil, err
	}
	// One source has one start and one policy, so topics that differ in these need a source each.
	for _, t := range topics[1:] {
		if t.Start != topics[0].Start || t.DecodePolicy.String() != topics[0].DecodePolicy.String() {
			return nil, fmt.Errorf("topics %q and %q differ in StartAt or OnDecodeError: read them apart and merge the streams",
				topics[0].Name, t.Name)
		}
	}
	for _, t := range slices.SortedFunc(
		slices.Values(topics), func(x, y Topic[K, V]) int { return strings.Compare(x.Name, y.Name) },
	) {
		s.settings += t.settings()
	}
	return s, nil
}

func (s *sourceTopics) compilePattern(pattern string) (err error) {
	if s.pattern, err = regexp.Compile("^(?:" + pattern + ")$"); err != nil {
		return fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return nil
}

func addTopics[K, V any](s *sourceTopics, topics []Topic[K, V]) error {
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

// settings describes what must be equal for two calls to share a source. Functions are compared by
// their code: a closure over other variables counts as equal.
func (t Topic[K, V]) settings() string {
	return fmt.Sprintf("%T %T %T %x %x %v %v;", t, t.Key, t.Value, reflect.ValueOf(t.ExtractTime).Pointer(),
		reflect.ValueOf(t.ChoosePartition).Pointer(), t.DecodePolicy, t.Start)
}

// canShare reports whether s can share the source of other. The error says why the program cannot
// read both.
func (s *sourceTopics) canShare(other *sourceTopics) (shared bool, err error) {
	// Whether two patterns overlap cannot be decided here. It shows when a topic matches both.
	if s.pattern != nil && other.pattern != nil && s.pattern.String() != other.pattern.String() {
		return false, nil
	}
	topic, both := s.commonTopic(other)
	switch {
	case !both:
		return false, nil
	case s.reading != other.reading && max(s.reading, other.reading) > AsTable:
		return false, fmt.Errorf("%s is read as %v, and as %v at %s; a topic can be read in one way only", topic, s.reading,
			other.reading, other.node.pos)
	case s.reading != other.reading:
		return false, fmt.Errorf("%s is read as a stream and as a table, at %s; read it once: table.ToStream and "+
			"table.ToTable make one of the other", topic, other.node.pos)
	case s.reading == AsTable:
		return false, fmt.Errorf("%s is read as a table at %s already; use that handle twice", topic, other.node.pos)
	case s.reading != AsStream:
		return false, fmt.Errorf(
			"%s is read as %v at %s already; use its handle or its reference twice", topic, s.reading, other.node.pos,
		)
	case !slices.Equal(s.topics, other.topics) || (s.pattern == nil) != (other.pattern == nil):
		return false, fmt.Errorf("%s is read at %s already, with another set of topics; read each topic once and "+
			"merge the streams", topic, other.node.pos)
	case s.settings != other.settings:
		return false, fmt.Errorf("%s is read at %s already, with other types, serdes or settings; use one "+
			"stream.Topic for both", topic, other.node.pos)
	case s.name != "" && s.name != other.name:
		return false, fmt.Errorf("%s is read at %s already, under another name; use that handle twice", topic, other.node.pos)
	}
	return true, nil
}

// commonTopic returns a topic that s and other both read.
func (s *sourceTopics) commonTopic(other *sourceTopics) (string, bool) {
	if s.pattern != nil && other.pattern != nil {
		return fmt.Sprintf("pattern %q", s.patternText()), true
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

// patternText returns the pattern as it was given.
func (s *sourceTopics) patternText() string {
	p := s.pattern.String()
	return p[len("^(?:") : len(p)-len(")$")]
}
