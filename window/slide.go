package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/spec"
)

// Slide is a window that slides over the records of a key: there is one for each set of records
// that are no further apart than the difference. Start and end are part of the window. It ends at a
// record, or starts right after one.
type Slide spec.SlideHandle

// Sliding returns sliding windows whose records are no further apart than difference.
//
//	// How many payments of a card within any ten seconds?
//	n := table.CountWindows(byCard, window.Sliding(10*time.Second), "velocity")
func Sliding(difference time.Duration) Slide {
	return Slide(spec.Windows{Kind: spec.SlidingWindow, Size: difference}.Slide())
}

// Grace returns w with a grace period: how long after its end, in stream time, a window accepts
// late records. Defaults to 0.
func (w Slide) Grace(d time.Duration) Slide {
	return w.with(func(s *spec.Windows) { s.Grace = d })
}

// OnClose returns w with emission on close: the result of a window is sent once, when it is closed,
// instead of with every record.
func (w Slide) OnClose() Slide {
	return w.with(func(s *spec.Windows) { s.OnClose = true })
}

// IdleAfter returns w, emitted on close, with windows that are also closed by the wall clock: when
// no record has arrived for d and none is waiting on the broker, stream time advances to d before
// now, if that closes a window. Records that arrive afterwards with an older time are late.
// Therefore d must be longer than records are ever delayed, and longer than a broker may be
// unavailable. With IdleAfter results depend on when records were processed. Without it they do
// not, and the last windows of a partition wait for its next record.
func (w Slide) IdleAfter(d time.Duration) Slide {
	return w.with(func(s *spec.Windows) { s.Idle, s.IdleSet = d, true })
}

func (w Slide) windows() spec.Windows { return spec.SlideHandle(w).Windows() }

func (w Slide) with(change func(*spec.Windows)) Slide {
	windows := w.windows()
	change(&windows)
	return Slide(windows.Slide())
}

func (Slide) fixed() {}
