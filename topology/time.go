package topology

import (
	"time"

	"github.com/millstream-go/millstream/internal/timerange"
)

// MaxTime returns the latest time that a record may have: the last millisecond of the year 9999.
//
// A record of a topic that has a later time, or gets one from the topic's Timestamp function, goes
// to the policy of records that do not decode. A record that a step's function makes goes to the
// step's policy. Stores reject rows of later times with an error.
func MaxTime() time.Time { return time.UnixMilli(timerange.Max) }
