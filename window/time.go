package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/windowspec"
)

// Time is a window of a fixed size, from its start to its end, end excluded. Starts are multiples of the advance since 1970. It is
// closed when stream time has reached its end and the grace period is over.
type Time struct{ time windowspec.Spec }

// Tumbling returns windows of that size, one after the other: each record belongs to one.
func Tumbling(size time.Duration) Time { return Hopping(size, size) }

// Hopping returns windows of that size, of which one starts every advance. They overlap when the advance is less than the size:
// each record belongs to several. The advance must not be greater than the size.
func Hopping(size, advance time.Duration) Time {
	return Time{windowspec.Spec{Kind: windowspec.Time, Size: size, Advance: advance}}
}

// Grace returns w with a grace period: how long after its end, in stream time, a window takes records that come late. Defaults to 0.
func (w Time) Grace(d time.Duration) Time {
	w.time.Grace = d
	return w
}

// OnClose returns w emitted on close: a window's result is sent once, when it is closed, instead of with every record.
func (w Time) OnClose() Time {
	w.time.OnClose = true
	return w
}

// IdleAfter returns w, emitted on close, with windows closed by the clock on the wall, too: when no record has come for d and none
// waits on the broker, stream time moves on to d before now, as far as that closes something. What comes later with an older time is
// late then, so d has to be longer than records are on their way, and longer than a broker may be away. Results depend on
// when records were processed; without IdleAfter they do not, and the last windows of a partition wait for its next record.
func (w Time) IdleAfter(d time.Duration) Time {
	w.time.Idle, w.time.AskIdle = d, true
	return w
}

// Plan returns what w is. For the packages of this module.
func (w Time) Plan() windowspec.Spec { return w.time }

func (Time) window() {}
func (Time) fixed()  {}
