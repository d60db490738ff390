package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/windowspec"
)

// Slide is a window that slides over the records of a key: for each set of records that lie no further apart than the difference there
// is one. Start and end belong to it. It ends at a record or starts right after one.
type Slide struct{ slide windowspec.Spec }

// Sliding returns sliding windows in which records lie no further apart than difference.
//
//	// How many payments of a card within any ten seconds?
//	n := table.CountWindows(byCard, window.Sliding(10*time.Second), "velocity")
func Sliding(difference time.Duration) Slide {
	return Slide{windowspec.Spec{Kind: windowspec.Sliding, Size: difference}}
}

// Grace returns w with a grace period: how long after its end, in stream time, a window takes records that come late. Defaults to 0.
func (w Slide) Grace(d time.Duration) Slide {
	w.slide.Grace = d
	return w
}

// OnClose returns w emitted on close: a window's result is sent once, when it is closed, instead of with every record.
func (w Slide) OnClose() Slide {
	w.slide.OnClose = true
	return w
}

// IdleAfter returns w, emitted on close, with windows closed by the clock on the wall, too: when no record has come for d and none
// waits on the broker, stream time moves on to d before now, as far as that closes something. What comes later with an older time is
// late then, so d has to be longer than records are on their way, and longer than a broker may be away. Results depend on
// when records were processed; without IdleAfter they do not, and the last windows of a partition wait for its next record.
func (w Slide) IdleAfter(d time.Duration) Slide {
	w.slide.Idle, w.slide.AskIdle = d, true
	return w
}

// Plan returns what w is. For the packages of this module.
func (w Slide) Plan() windowspec.Spec { return w.slide }

func (Slide) window() {}
func (Slide) fixed()  {}
