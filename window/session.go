package window

import (
	"time"

	"github.com/millstream-go/millstream/internal/windowspec"
)

// Session is a window of activity: it grows while records of its key lie no further apart than the gap. Its start and end are the times
// of its first and its last record. A record between two sessions merges them: their rows are deleted, and the merged one is new.
type Session struct{ session windowspec.Spec }

// Sessions returns sessions that end when a key has had no record for longer than gap.
func Sessions(gap time.Duration) Session {
	return Session{windowspec.Spec{Kind: windowspec.Session, Size: gap}}
}

// Grace returns w with a grace period: how long after the gap, in stream time, a session takes records that come late. Defaults to 0.
func (w Session) Grace(d time.Duration) Session {
	w.session.Grace = d
	return w
}

// OnClose returns w emitted on close: a session's result is sent once, when it is closed, instead of with every record. Sessions that
// were merged into others are not sent.
func (w Session) OnClose() Session {
	w.session.OnClose = true
	return w
}

// IdleAfter returns w, emitted on close, with sessions closed by the clock on the wall, too: when no record has come for d and none
// waits on the broker, stream time moves on to d before now, as far as that closes something. What comes later with an older time is
// late then, so d has to be longer than records are on their way, and longer than a broker may be away. Results depend on
// when records were processed; without IdleAfter they do not, and the last sessions of a partition wait for its next record.
func (w Session) IdleAfter(d time.Duration) Session {
	w.session.Idle, w.session.AskIdle = d, true
	return w
}

// Plan returns what w is. For the packages of this module.
func (w Session) Plan() windowspec.Spec { return w.session }

func (Session) window() {}
