// Package windowspec is what the windows of package window come to, for the operators to read. It is apart from them since users must
// not see it.
package windowspec

import (
	"errors"
	"fmt"
	"time"
)

// Kind is a kind of window.
type Kind uint8

// The kinds. None is that of a zero window, which no function of package window made.
const (
	None Kind = iota
	Time
	Sliding
	Session
	Unlimited
	Join
)

// Spec is a window as the user gave it.
type Spec struct {
	Kind    Kind
	Size    time.Duration // of time windows; the difference of sliding ones, the gap of sessions
	Advance time.Duration // of time windows
	Grace   time.Duration
	Before  time.Duration // of joins
	After   time.Duration
	Start   time.Time // of unlimited windows
	OnClose bool
	Idle    time.Duration // that of IdleAfter, if AskIdle says that it was given
	AskIdle bool
}

// Limit is the longest duration that a window may have: sums of a few fit a Duration.
const Limit = 50 * 365 * 24 * time.Hour

// Forever is how long the stores of unlimited windows keep rows, and how long their windows are for a store.
const Forever = 4 * Limit

// Check says what is wrong with s: all of it.
func (s Spec) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch s.Kind {
	case None:
		return errors.New("its window is zero; make it with window.Tumbling, Hopping, Sliding, Sessions, Unlimited or Within")
	case Time:
		if s.Size <= 0 {
			bad("the size of its windows is %v; it must be greater than 0", s.Size)
		} else if s.Advance <= 0 || s.Advance > s.Size {
			bad("its windows advance by %v; it must be greater than 0 and at most their size, %v, or records would fall between them", s.Advance, s.Size)
		}
	case Sliding:
		if s.Size < 0 {
			bad("the time difference of its sliding windows is %v; it must not be negative", s.Size)
		}
	case Session:
		if s.Size <= 0 {
			bad("the gap of its sessions is %v; it must be greater than 0", s.Size)
		}
	case Unlimited:
		if s.Start.UnixMilli() < 0 {
			bad("its unlimited windows start at %v; it must not be before 1970", s.Start)
		}
	case Join:
		if min(s.Before, Limit)+min(s.After, Limit) < 0 {
			bad("its join window ends before it starts: from %v before to %v after", s.Before, s.After)
		}
	}
	if s.Grace < 0 {
		bad("the grace period of its windows is %v; it must not be negative", s.Grace)
	}
	if s.AskIdle {
		if s.Idle <= 0 {
			bad("IdleAfter is %v; it must be greater than 0", s.Idle)
		}
		if !s.OnClose {
			bad("IdleAfter is for windows that are emitted on close: add OnClose")
		}
	}
	for _, d := range []time.Duration{s.Size, s.Advance, s.Grace, s.Before, s.After, s.Idle} {
		switch {
		case d > Limit || d < -Limit:
			bad("%v is longer than 50 years", d)
		case d%time.Millisecond != 0:
			bad("%v is no whole number of milliseconds, in which times are counted", d)
		}
	}
	return errors.Join(errs...)
}

// CloseAfter is how long after its end a window may still change.
func (s Spec) CloseAfter() time.Duration {
	if s.Kind == Session {
		return s.Size + s.Grace
	}
	return s.Grace
}

// Span is the time from the start of a window to its end, which sessions have none of.
func (s Spec) Span() time.Duration {
	switch s.Kind {
	case Session:
		return 0
	case Unlimited:
		return Forever
	}
	return s.Size
}

// Retention returns how long a store has to keep rows: as long as the user said, who must not say less than Kafka Streams asks for, and
// long enough for what is computed not to depend on it. Kafka Streams keeps sliding windows and sessions shorter by default, and then
// the results at the edge depend on which of them the store still shows.
func (s Spec) Retention(said time.Duration) (time.Duration, error) {
	var least, need time.Duration
	switch s.Kind {
	case Unlimited:
		return Forever, nil
	case Time:
		least = s.Size + s.Grace
		need = least
	case Sliding: // a record that is just not late looks at windows that begin two differences before it
		least = s.Size + s.Grace
		need = 3*s.Size + s.Grace + time.Millisecond
	case Session: // a record that is just not late looks for sessions that end a gap before it
		least = s.Size + s.Grace
		need = 2*s.Size + s.Grace + time.Millisecond
	}
	if said != 0 && said < least {
		return 0, fmt.Errorf("its store keeps windows for %v; it must be at least %v, their length and grace period together", said, least)
	}
	return max(said, need), nil
}
