package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/spec"
)

// Session is a window of activity: it grows as long as records of its key are no further apart than
// the gap. Its start and end are the times of its first and last record. A record between two
// sessions merges them: their rows are deleted, and the merged session is a new row.
type Session spec.SessionHandle

// Sessions returns sessions that end when a key has had no record for longer than gap.
func Sessions(gap time.Duration) Session {
	return Session(spec.Windows{Kind: spec.SessionWindow, Size: gap}.Session())
}

// Grace returns w with a grace period: how long after the gap, in stream time, a session accepts
// late records. Defaults to 0.
func (w Session) Grace(d time.Duration) Session {
	return w.with(func(s *spec.Windows) { s.Grace = d })
}

// OnClose returns w with emission on close: the result of a session is sent once, when it is
// closed, instead of with every record. Sessions that were merged into others are not sent.
func (w Session) OnClose() Session {
	return w.with(func(s *spec.Windows) { s.OnClose = true })
}

// IdleAfter returns w, emitted on close, with sessions that are also closed by the wall clock: when
// no record has arrived for d and none is waiting on the broker, stream time advances to d before
// now, if that closes a session. Records that arrive afterwards with an older time are late.
// Therefore d must be longer than records are ever delayed, and longer than a broker may be
// unavailable. With IdleAfter results depend on when records were processed. Without it they do
// not, and the last sessions of a partition wait for its next record.
func (w Session) IdleAfter(d time.Duration) Session {
	return w.with(func(s *spec.Windows) { s.Idle, s.IdleSet = d, true })
}

func (w Session) windows() spec.Windows { return spec.SessionHandle(w).Windows() }

func (w Session) with(change func(*spec.Windows)) Session {
	windows := w.windows()
	change(&windows)
	return Session(windows.Session())
}
