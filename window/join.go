package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/spec"
)

// Join is the window of a join of two streams: a right record is joined with a left one if it is at
// most Before earlier and at most After later. Both bounds are included.
type Join spec.JoinHandle

// Within joins records whose times are at most d apart, whichever is first.
func Within(d time.Duration) Join {
	return Join(spec.Windows{Kind: spec.JoinWindow, Before: d, After: d}.Join())
}

// Before returns w with another bound for right records that are earlier than the left one: at most
// d. With a negative d only right records that are later by at least -d are joined.
func (w Join) Before(d time.Duration) Join {
	return w.with(func(s *spec.Windows) { s.Before = d })
}

// After returns w with another bound for right records that are later than the left one: at most d.
// With a negative d only right records that are earlier by at least -d are joined.
func (w Join) After(d time.Duration) Join {
	return w.with(func(s *spec.Windows) { s.After = d })
}

// Grace returns w with a grace period: how late, in stream time, records may arrive and still be
// joined. Defaults to 0.
func (w Join) Grace(d time.Duration) Join {
	return w.with(func(s *spec.Windows) { s.Grace = d })
}

func (w Join) windows() spec.Windows { return spec.JoinHandle(w).Windows() }

func (w Join) with(change func(*spec.Windows)) Join {
	windows := w.windows()
	change(&windows)
	return Join(windows.Join())
}
