package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/spec"
)

// Time is a window of a fixed size. Its start is part of it, its end is not. Starts are multiples
// of the advance since 1970. A window is closed when stream time has reached its end and the grace
// period is over.
type Time spec.TimeHandle

// Tumbling returns consecutive windows of that size: each record is in one.
func Tumbling(size time.Duration) Time { return Hopping(size, size) }

// Hopping returns windows of that size, one starting every advance. They overlap if the advance is
// less than the size; each record is then in several. The advance must not be greater than the
// size.
func Hopping(size, advance time.Duration) Time {
	return Time(spec.Windows{Kind: spec.TimeWindow, Size: size, Advance: advance}.Time())
}

// Grace returns w with a grace period: how long after its end, in stream time, a window accepts
// late records. Defaults to 0.
func (w Time) Grace(d time.Duration) Time {
	return w.with(func(s *spec.Windows) { s.Grace = d })
}

// OnClose returns w with emission on close: the result of a window is sent once, when it is closed,
// instead of with every record.
func (w Time) OnClose() Time {
	return w.with(func(s *spec.Windows) { s.OnClose = true })
}

// IdleAfter returns w, emitted on close, with windows that are also closed by the wall clock: when
// no record has arrived for d and none is waiting on the broker, stream time advances to d before
// now, if that closes a window. Records that arrive afterwards with an older time are late.
// Therefore d must be longer than records are ever delayed, and longer than a broker may be
// unavailable. With IdleAfter results depend on when records were processed. Without it they do
// not, and the last windows of a partition wait for its next record.
func (w Time) IdleAfter(d time.Duration) Time {
	return w.with(func(s *spec.Windows) { s.Idle, s.IdleSet = d, true })
}

func (w Time) windows() spec.Windows { return spec.TimeHandle(w).Windows() }

func (w Time) with(change func(*spec.Windows)) Time {
	windows := w.windows()
	change(&windows)
	return Time(windows.Time())
}

func (Time) fixed() {}
