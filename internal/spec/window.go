package spec

import (
	"errors"
	"fmt"
	"time"
)

// WindowKind is a kind of window.
type WindowKind uint8

// The kinds. None is that of a zero window, which no function of package window made.
const (
	NoWindow WindowKind = iota
	TimeWindow
	SlidingWindow
	SessionWindow
	UnlimitedWindow
	JoinWindow
)

// Windows is a window as the user gave it.
type Windows struct {
	Kind    WindowKind
	Size    time.Duration // of time windows; the difference of sliding ones, the gap of sessions
	Advance time.Duration // of time windows
	Grace   time.Duration
	Before  time.Duration // of joins
	After   time.Duration
	Start   time.Time // of unlimited windows
	OnClose bool
	Idle    time.Duration // of IdleAfter
	IdleSet bool          // IdleAfter was called
}

// MaxDuration is the longest duration that a window may have: sums of a few fit a Duration.
const MaxDuration = 50 * 365 * 24 * time.Hour

// Forever is how long the stores of unlimited windows keep rows, and how long their windows are for
// a store.
const Forever = 4 * MaxDuration

// Check returns everything that is wrong with s.
func (s Windows) Check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch s.Kind {
	case NoWindow:
		return errors.New("its window is zero; make it with window.Tumbling, Hopping, Sliding, Sessions, Unlimited or Within")
	case TimeWindow:
		if s.Size <= 0 {
			add("the size of its windows is %v; it must be greater than 0", s.Size)
		} else if s.Advance <= 0 || s.Advance > s.Size {
			add("its windows advance by %v; it must be greater than 0 and at most their size, %v, or records would fall "+
				"between them", s.Advance, s.Size)
		}
	case SlidingWindow:
		if s.Size < 0 {
			add("the time difference of its sliding windows is %v; it must not be negative", s.Size)
		}
	case SessionWindow:
		if s.Size <= 0 {
			add("the gap of its sessions is %v; it must be greater than 0", s.Size)
		}
	case UnlimitedWindow:
		if s.Start.UnixMilli() < 0 {
			add("its unlimited windows start at %v; it must not be before 1970", s.Start)
		}
	case JoinWindow:
		if min(s.Before, MaxDuration)+min(s.After, MaxDuration) < 0 {
			add("its join window ends before it starts: from %v before to %v after", s.Before, s.After)
		}
	}
	if s.Grace < 0 {
		add("the grace period of its windows is %v; it must not be negative", s.Grace)
	}
	if s.IdleSet {
		if s.Idle <= 0 {
			add("IdleAfter is %v; it must be greater than 0", s.Idle)
		}
		if !s.OnClose {
			add("IdleAfter is for windows that are emitted on close: add OnClose")
		}
	}
	for _, d := range []time.Duration{s.Size, s.Advance, s.Grace, s.Before, s.After, s.Idle} {
		switch {
		case d > MaxDuration || d < -MaxDuration:
			add("%v is longer than 50 years", d)
		case d%time.Millisecond != 0:
			add("%v is not a whole number of milliseconds", d)
		}
	}
	return errors.Join(errs...)
}

// CloseAfter returns how long after its end a window may still change.
func (s Windows) CloseAfter() time.Duration {
	if s.Kind == SessionWindow {
		return s.Size + s.Grace
	}
	return s.Grace
}

// Span returns the time from the start of a window to its end. Sessions have none.
func (s Windows) Span() time.Duration {
	switch s.Kind {
	case SessionWindow:
		return 0
	case UnlimitedWindow:
		return Forever
	}
	return s.Size
}

// Retention returns how long a store has to keep rows. requested is what the user asked for, which
// must not be less than Kafka Streams demands. The result is also long enough that no result
// depends on it: Kafka Streams keeps sliding windows and sessions shorter by default, and then
// results at the edge depend on which of them the store still shows.
func (s Windows) Retention(requested time.Duration) (time.Duration, error) {
	var minimum, required time.Duration
	switch s.Kind {
	case UnlimitedWindow:
		return Forever, nil
	case TimeWindow:
		minimum = s.Size + s.Grace
		required = minimum
	// A record that is almost late reads windows that begin two differences before it.
	case SlidingWindow:
		minimum = s.Size + s.Grace
		required = 3*s.Size + s.Grace + time.Millisecond
	// A record that is almost late searches for sessions that end a gap before it.
	case SessionWindow:
		minimum = s.Size + s.Grace
		required = 2*s.Size + s.Grace + time.Millisecond
	}
	if requested != 0 && requested < minimum {
		return 0, fmt.Errorf(
			"its store keeps windows for %v; it must be at least %v, their length and grace period together", requested, minimum,
		)
	}
	retention := max(requested, required)
	// As in Kafka Streams, windows that are emitted on close stay a millisecond longer: the record
	// that closes a window may begin another one exactly the retention later, and a join with
	// another table that closes it with the same record still has to find the row.
	if s.OnClose && s.Kind != SessionWindow {
		retention += time.Millisecond
	}
	return retention, nil
}
