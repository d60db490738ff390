package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// TopicConfig is a topic's name and, for the case that it has to be created, its partitions and copies.
type TopicConfig struct {
	Name        string
	Partitions  int
	Replication int
}

// Config is what a properties file and flags say.
type Config struct {
	Application string
	Brokers     []string // none: the in-process Kafka
	Mode        string   // "learning" or "mapping"
	StateDir    string
	Once, JSON  bool
	Generate    int
	Seed        uint64

	Stream  TopicConfig // the events
	Table   TopicConfig // the registrations
	Rekeyed TopicConfig // the registrations by phone, in mapping mode
	Output  TopicConfig
}

func defaults() Config {
	topic := func(name string) TopicConfig { return TopicConfig{Name: name, Partitions: 4, Replication: -1} }
	return Config{
		Application: "idmapping", Mode: "learning", Seed: 1,
		Stream: topic("events"), Table: topic("registrations"), Rekeyed: topic("registrations-by-phone"),
		Output: topic("profiles"),
	}
}

func (c Config) deadLetters() string { return c.Application + "-dead-letters" }

// topics are the topics that the mode uses, to be created where they are missing.
func (c Config) topics() []TopicConfig {
	dead := TopicConfig{Name: c.deadLetters(), Partitions: 1, Replication: c.Stream.Replication}
	if c.Mode == "mapping" {
		return []TopicConfig{c.Stream, c.Table, c.Rekeyed, c.Output, dead}
	}
	return []TopicConfig{c.Stream, c.Table, c.Output, dead}
}

// readFile takes over what a properties file says, and returns everything that is wrong with it.
func (c *Config) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("-config: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if err := c.read(f); err != nil {
		return fmt.Errorf("%s:\n%w", path, err)
	}
	return nil
}

func (c *Config) read(r io.Reader) error {
	set := c.setters()
	seen := map[string]int{}
	var errs []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		name, value, err := property(line)
		if err == nil {
			if was := seen[name]; was > 0 {
				err = fmt.Errorf("%s was set in line %d already", name, was)
			} else if f, ok := set[name]; !ok {
				err = fmt.Errorf("%s is unknown; known are %s", name, strings.Join(known(set), ", "))
			} else {
				err = f(value)
			}
			seen[name] = n
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
		}
	}
	return errors.Join(append(errs, lines.Err())...)
}

func property(line string) (name, value string, err error) {
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		return "", "", fmt.Errorf("%q is not of the form name=value", line)
	}
	return strings.TrimSpace(line[:i]), strings.TrimSpace(line[i+1:]), nil
}

func known[T any](m map[string]T) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (c *Config) setters() map[string]func(string) error {
	set := map[string]func(string) error{
		"application.id":    func(v string) error { c.Application = v; return nil },
		"bootstrap.servers": func(v string) error { c.Brokers = list(v); return nil },
	}
	for name, t := range map[string]*TopicConfig{"stream": &c.Stream, "table": &c.Table, "rekeyed": &c.Rekeyed,
		"output": &c.Output} {
		set[name+".topic.name"] = func(v string) error { t.Name = v; return nil }
		set[name+".topic.partitions"] = number(name+".topic.partitions", 1, &t.Partitions)
		set[name+".topic.replication.factor"] = number(name+".topic.replication.factor", 1, &t.Replication)
	}
	return set
}

func number(name string, atLeast int, to *int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < atLeast || n > 1<<15-1 {
			return fmt.Errorf("%s is %q; it has to be a number from %d to %d", name, v, atLeast, 1<<15-1)
		}
		*to = n
		return nil
	}
}

func list(v string) []string {
	var out []string
	for _, s := range strings.Split(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// check returns everything that is wrong with the whole of it.
func (c Config) check() error {
	var errs []error
	if err := legal("application.id", c.Application); err != nil {
		errs = append(errs, err)
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("bootstrap.servers or -brokers has %q, which is not host:port", b))
		}
	}
	if c.Mode != "learning" && c.Mode != "mapping" {
		errs = append(errs, fmt.Errorf("-mode is %q; it has to be learning or mapping", c.Mode))
	}
	if c.Generate < 0 {
		errs = append(errs, fmt.Errorf("-generate is %d; it has to be 0 or more", c.Generate))
	}
	uses := map[string]string{}
	for what, t := range map[string]TopicConfig{"stream": c.Stream, "table": c.Table, "rekeyed": c.Rekeyed,
		"output": c.Output} {
		if err := legal(what+".topic.name", t.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		if other := uses[t.Name]; other != "" {
			errs = append(errs, fmt.Errorf("%s.topic.name and %s.topic.name are both %q", min(what, other), max(what, other),
				t.Name))
		}
		uses[t.Name] = what
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// legal says what Kafka would refuse in the name of a topic, or of what topics are named after.
func legal(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is empty", what)
	case !names.MatchString(name) || name == "." || name == "..":
		return fmt.Errorf("%s is %q; only letters, digits, '.', '_' and '-' may be in it, 200 at most", what, name)
	}
	return nil
}

var names = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,200}$`)
