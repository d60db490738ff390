package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/spec"
)

// Landmark is the single window of all records since a time. It is never closed, so it has no grace
// period and no emission on close.
type Landmark spec.LandmarkHandle

// Unlimited returns the window of all records since start. Earlier records are ignored and not
// counted. The window's End is the latest possible time.
func Unlimited(start time.Time) Landmark {
	return Landmark(spec.Windows{Kind: spec.UnlimitedWindow, Start: start}.Landmark())
}

func (w Landmark) windows() spec.Windows { return spec.LandmarkHandle(w).Windows() }

func (Landmark) fixed() {}
