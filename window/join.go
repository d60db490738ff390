package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/windowspec"
)

// Join says which records of two streams are joined: a right one with a left one if it is at most Before earlier and at most After later,
// both bounds included.
type Join struct{ join windowspec.Spec }

// Within joins records that lie no further apart than d, whichever is first.
func Within(d time.Duration) Join {
	return Join{windowspec.Spec{Kind: windowspec.Join, Before: d, After: d}}
}

// Before returns w with another bound for right records that are earlier than the left one: at most d. A negative d asks for right
// records that are later by at least -d.
func (w Join) Before(d time.Duration) Join {
	w.join.Before = d
	return w
}

// After returns w with another bound for right records that are later than the left one: at most d. A negative d asks for right records
// that are earlier by at least -d.
func (w Join) After(d time.Duration) Join {
	w.join.After = d
	return w
}

// Grace returns w with a grace period: how long, in stream time, records may come late and still be joined. Defaults to 0.
func (w Join) Grace(d time.Duration) Join {
	w.join.Grace = d
	return w
}

// Plan returns what w is. For the packages of this module.
func (w Join) Plan() windowspec.Spec { return w.join }
