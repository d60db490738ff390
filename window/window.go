// Package window has the windows in which aggregations and joins collect records, and the keys of
// windowed tables.
//
//	w := window.Tumbling(time.Hour).Grace(5 * time.Minute)
//	perHour := table.CountWindows(stream.GroupByKey(clicks), w, "clicks-per-hour")
//
// A window is a value; its methods return a changed copy. An invalid window, such as one whose
// advance is greater than its size, is an error of the step that uses it, reported by Build.
// Durations are whole milliseconds.
//
// A record belongs to windows by its own time. The stream time of an operator is the greatest time
// of the records that have reached it; it survives a restart. A record that arrives when its window
// is closed is late: it is dropped and counted.
package window

import "github.com/millstream-go/millstream/internal/spec"

// Any is any window of an aggregation: Time, Slide, Session or Landmark.
type Any interface {
	windows() spec.Windows
}

// Fixed is a window that does not grow with its records: Time, Slide or Landmark.
type Fixed interface {
	Any
	fixed()
}
