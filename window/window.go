// Package window has the windows in which aggregations and joins collect records, and the keys of windowed tables.
//
//	w := window.Tumbling(time.Hour).Grace(5 * time.Minute)
//	perHour := table.CountWindows(stream.GroupByKey(clicks), w, "clicks-per-hour")
//
// A window is a value; its methods return a changed copy. What is impossible, such as an advance greater than the size, is a mistake of
// the step that the window is given to, reported by Build. Durations are whole milliseconds.
//
// A record belongs to windows by its own time. An operator's stream time is the greatest time among the records that have reached it, and
// it survives a restart; a record that comes when its window is closed is late, and is dropped and counted.
package window

import "github.com/millstream-go/millstream/internal/windowspec"

// Any is any window of an aggregation: Time, Slide, Session or Landmark.
type Any interface {
	// Plan returns what the window is. For the packages of this module.
	Plan() windowspec.Spec
	window()
}

// Fixed is a window that does not grow with its records: Time, Slide or Landmark.
type Fixed interface {
	Any
	fixed()
}
