package offsetmeta

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Program is what committed offsets say of the program that committed them: its internal topics and
// the types of its stores. So a start can tell a topic that was deleted from one that is new to the
// program, on any machine.
//
// It is one entry among the times of operators. Its name has everything, its value is 0. Kafka
// Streams leaves entries in place that it does not know. The name is
//
//	#  form  item ; item ; ...
//
// where an item is an internal topic: the first 6 bytes of the SHA-256 of its name without the
// application's prefix, in base64 (URL alphabet). For a changelog "=" and the type of the store
// follow: layout, key and value, separated by commas. A field that is not known is empty. The form
// is one of
//
//	t  the fields are text, escaped as in a URL
//	h  each field is the first 3 bytes of its SHA-256, in base64
//	n  there are no types
//
// The first of these that fits is written. A form that a reader does not know counts as no entry.
type Program struct {
	topics map[string]internalTopic // by hash of the topic
}

type internalTopic struct {
	typed, hashed bool
	fields        [3]string
}

// Type is the type of a store's rows. An empty field is not known, and equal to any other.
type Type struct {
	Layout     string // "key-value", "window 1m"
	Key, Value string // the names of their serdes' formats
}

// String returns "window 1m, string to int64".
func (t Type) String() string {
	s := t.Layout
	if t.Key != "" || t.Value != "" {
		s += ", " + cmp.Or(t.Key, "?") + " to " + cmp.Or(t.Value, "?")
	}
	return s
}

// Encode encodes t as form t of a Program does: three fields, separated by commas.
func (t Type) Encode() string { return string(appendFields(nil, t.fields(), url.QueryEscape)) }

// DecodeType decodes what Encode has encoded.
func DecodeType(s string) (Type, error) {
	var parsed internalTopic
	if !parsed.parse(s) {
		return Type{}, fmt.Errorf("a store's type cannot be read: %q", s[:min(len(s), 100)])
	}
	return Type{parsed.fields[0], parsed.fields[1], parsed.fields[2]}, nil
}

// Changed reports whether t reads the bytes of was as something else. What is not known of one of
// them is not compared.
func (t Type) Changed(was Type) bool {
	now, before := t.fields(), was.fields()
	for i := range now {
		if now[i] != "" && before[i] != "" && now[i] != before[i] {
			return true
		}
	}
	return false
}

func (t Type) fields() [3]string { return [3]string{t.Layout, t.Key, t.Value} }

func appendFields(b []byte, fields [3]string, write func(string) string) []byte {
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		if f != "" {
			b = append(b, write(f)...)
		}
	}
	return b
}

const programPrefix = "#"

const (
	textForm   = 't'
	hashedForm = 'h'
	namesForm  = 'n'
)

// NewProgram returns a Program without internal topics. The zero Program is one of which nothing is
// known.
func NewProgram() Program { return Program{topics: map[string]internalTopic{}} }

// Put adds an internal topic, by its name without the application's prefix. t is the type of its
// store, nil for a topic that is no changelog.
func (p Program) Put(topic string, t *Type) {
	topicEntry := internalTopic{}
	if t != nil {
		topicEntry = internalTopic{typed: true, fields: t.fields()}
	}
	p.topics[hash(topic, 6)] = topicEntry
}

// Known reports whether p is more than the zero Program.
func (p Program) Known() bool { return p.topics != nil }

// Has reports whether the program had a topic.
func (p Program) Has(topic string) bool {
	_, ok := p.topics[hash(topic, 6)]
	return ok
}

// Changed reports whether the store whose changelog is topic had another type than t. was is what
// is known of that type. A field of which only the hash is known, and that differs, is "another" in
// it.
func (p Program) Changed(topic string, t Type) (was Type, changed bool) {
	entry, ok := p.topics[hash(topic, 6)]
	if !ok || !entry.typed {
		return Type{}, false
	}
	for i, now := range t.fields() {
		field := []*string{&was.Layout, &was.Key, &was.Value}[i]
		if *field = entry.fields[i]; *field == "" {
			continue
		}
		differs := now != "" && now != entry.fields[i]
		// Of the older type only hashes are known. A field with the same hash had the present text.
		if entry.hashed {
			differs = now != "" && hash(now, 3) != entry.fields[i]
			if *field = now; differs || now == "" {
				*field = "another"
			}
		}
		changed = changed || differs
	}
	return was, changed
}

// Merge adds what another offset says. Where both know a topic, p stays.
func (p *Program) Merge(other Program) {
	if other.topics == nil {
		return
	}
	if p.topics == nil {
		p.topics = map[string]internalTopic{}
	}
	for key, topic := range other.topics {
		if _, ok := p.topics[key]; !ok {
			p.topics[key] = topic
		}
	}
}

// Entry returns the name of the entry, in the first form that takes limit bytes at most.
func (p Program) Entry(limit int) (string, error) {
	if p.topics == nil {
		return "", nil
	}
	var shortest string
	for _, form := range []byte{textForm, hashedForm, namesForm} {
		if form == textForm && p.hashed() {
			continue
		}
		if shortest = p.entry(form); len(shortest) <= limit {
			return shortest, nil
		}
	}
	return "", fmt.Errorf("%w: the names of %d internal topics take %d bytes, %d are left", ErrTooLarge, len(p.topics),
		len(shortest), max(limit, 0))
}

// hashed reports whether a type is known only by its hashes.
func (p Program) hashed() bool {
	for _, x := range p.topics {
		if x.hashed {
			return true
		}
	}
	return false
}

func (p Program) entry(form byte) string {
	b := []byte(programPrefix)
	b = append(b, form)
	for i, key := range slices.Sorted(maps.Keys(p.topics)) {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, key...)
		topic := p.topics[key]
		if !topic.typed || form == namesForm {
			continue
		}
		write := url.QueryEscape
		switch {
		// Read from an entry of form h, the fields are hashes already. Hashed once more, they would
		// equal those of no type.
		case topic.hashed:
			write = func(f string) string { return f }
		case form == hashedForm:
			write = func(f string) string { return hash(f, 3) }
		}
		b = appendFields(append(b, '='), topic.fields, write)
	}
	return string(b)
}

// ProgramOf finds the program among the entries of an offset's metadata. It returns the zero
// Program and no error when there is none.
func ProgramOf(entries map[string]int64) (Program, error) {
	var p Program
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		body, ok := strings.CutPrefix(name, programPrefix)
		if !ok || body == "" {
			continue
		}
		next, err := parseProgram(body[0], body[1:])
		if errs = append(errs, err); err == nil {
			p.Merge(next)
		}
	}
	return p, errors.Join(errs...)
}

func parseProgram(form byte, body string) (Program, error) {
	p := NewProgram()
	if form != textForm && form != hashedForm && form != namesForm {
		return p, fmt.Errorf("offset metadata has the names of internal topics in an unknown form, %q", form)
	}
	if body == "" {
		return p, nil
	}
	for part := range strings.SplitSeq(body, ";") {
		key, fields, typed := strings.Cut(part, "=")
		topic := internalTopic{typed: typed, hashed: typed && form == hashedForm}
		if len(key) != 8 || typed && !topic.parse(fields) {
			return p, errors.New("offset metadata has an internal topic that cannot be read")
		}
		p.topics[key] = topic
	}
	return p, nil
}

func (t *internalTopic) parse(s string) bool {
	parts := strings.Split(s, ",")
	if len(parts) != len(t.fields) {
		return false
	}
	for i, f := range parts {
		if t.hashed {
			t.fields[i] = f
			continue
		}
		var err error
		if t.fields[i], err = url.QueryUnescape(f); err != nil {
			return false
		}
	}
	return true
}

// hash returns the first n bytes of a name's SHA-256, n a multiple of 3.
func hash(name string, n int) string {
	sum := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(sum[:n])
}
