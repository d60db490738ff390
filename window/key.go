package window

import (
	"fmt"
	"math"
	"time"
)

// Key is the key of a windowed table: the key that was grouped by, and the window. Keys of equal
// windows are equal by == if K is comparable: their times are as time.UnixMilli returns them.
type Key[K any] struct {
	Key K
	// Start is the first moment of the window. End is where it ends: not part of a Time window, but
	// part of a Slide and of a Session, whose Start and End are the times of their first and last
	// records.
	Start, End time.Time
}

// String returns the key and its window: card-1@2026-01-02T10:00:00Z/2026-01-02T11:00:00Z. A window
// without end ends in "..".
func (k Key[K]) String() string {
	end := ".."
	if k.End.UnixMilli() != math.MaxInt64 {
		end = formatTime(k.End)
	}
	return fmt.Sprintf("%v@%s/%s", k.Key, formatTime(k.Start), end)
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z07:00") }
