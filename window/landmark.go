package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/windowspec"
)

// Landmark is the one window of all records since a moment. It is never closed, so it has no grace period and no emission on close.
type Landmark struct{ landmark windowspec.Spec }

// Unlimited returns the window of all records since start. Earlier records are left out, uncounted. The window's End is the last
// time there is.
func Unlimited(start time.Time) Landmark {
	return Landmark{windowspec.Spec{Kind: windowspec.Unlimited, Start: start}}
}

// Plan returns what w is. For the packages of this module.
func (w Landmark) Plan() windowspec.Spec { return w.landmark }

func (Landmark) window() {}
func (Landmark) fixed()  {}
