package failure

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// IsZero reports whether p is the zero Policy, which stands for the App's.
func (p Policy) IsZero() bool { return p.kind == inherit }

// Validate returns what is invalid about p, or nil: a topic name that Kafka does not allow, no
// attempts, pauses that are not positive or decrease, a nil function. Build and New report it. A
// policy that Decide returns is validated when it is returned.
func (p Policy) Validate() error {
	switch p.kind {
	case deadLetter:
		return validTopic(p.topic)
	case retry:
		return errors.Join(p.validRetry(), p.then.Validate())
	case decide:
		if p.decide == nil {
			return errors.New("failure.Decide: the function is nil")
		}
	}
	return nil
}

func (p Policy) validRetry() error {
	switch {
	case p.attempts < 1:
		return fmt.Errorf("failure.Retry: %d attempts, want at least 1", p.attempts)
	case p.first <= 0:
		return fmt.Errorf("failure.Retry: first pause %v, want more than 0", p.first)
	case p.max < p.first:
		return fmt.Errorf("failure.Retry: longest pause %v is shorter than the first, %v", p.max, p.first)
	}
	return nil
}

// maxTopic is the length of the longest topic name that a broker takes: with a dash and a partition
// it must be a file's name.
const maxTopic = 249

func validTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("failure.DeadLetter: the topic's name is empty")
	case len(topic) > maxTopic:
		return fmt.Errorf("failure.DeadLetter: the topic's name has %d characters, Kafka allows %d", len(topic), maxTopic)
	case topic == "." || topic == ".." || strings.ContainsFunc(topic, illegal):
		return fmt.Errorf("failure.DeadLetter: topic %q: Kafka allows letters, digits, '.', '_' and '-' only, and not the "+
			"names . and ..", topic)
	}
	return nil
}

func illegal(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	return !letter && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
}

// Topics returns the dead-letter topics that p names, in the order in which they could be used.
// Topics that a Decide may choose are unknown.
func (p Policy) Topics() []string {
	switch p.kind {
	case deadLetter:
		return []string{p.topic}
	case retry:
		return p.then.Topics()
	}
	return nil
}

// String describes p, for descriptions and logs.
func (p Policy) String() string {
	switch p.kind {
	case stop:
		return "stop"
	case skip:
		return "skip"
	case deadLetter:
		return fmt.Sprintf("dead letter to %q", p.topic)
	case retry:
		return fmt.Sprintf("retry %d times (%v to %v), then %v", p.attempts, p.first, p.max, *p.then)
	case decide:
		return "decide"
	}
	return "the App's policy"
}

// pause returns the time to wait after the given failed attempt, counted from 1.
func (p Policy) pause(attempt int) time.Duration {
	pause := p.first
	for range attempt - 1 {
		if pause >= p.max/2 {
			return p.max
		}
		pause *= 2
	}
	return min(pause, p.max)
}
