package millstream

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/runtime/instance"
)

// StandbyInfo describes a standby of a store partition: a copy of a store of a task that another member runs.
type StandbyInfo struct {
	Task      string // "0_3"
	Store     string
	Topic     string // that is followed: the changelog, or the topic in place of one
	Partition int32
	// Position is the offset of the changelog up to which the copy has its rows. End is that of the changelog as it was
	// known last, at most some seconds ago while brokers answer; -1: not known.
	Position, End int64
	// Lag is how many offsets are between them; -1: not known. Offsets that were compacted count.
	Lag int64
	// Records were applied since the standby began.
	Records int64
	// WarmUp: the task is to move here when the lag of all of its stores together is at most Config.AcceptableLag.
	WarmUp bool
}

// StandbyEvent is what has happened to a standby.
type StandbyEvent int

// The events of a standby.
const (
	// StandbyStarted: it begins to follow the changelog at Position. When it has failed, as where its file is damaged, it
	// begins again, with this event and without one of the two below.
	StandbyStarted StandbyEvent = iota
	// StandbyLoaded: a batch of records was applied.
	StandbyLoaded
	// StandbyPromoted: its member runs the task from now on. It has ended.
	StandbyPromoted
	// StandbyMigrated: the group wants no standby here any more, or the App stops. It has ended.
	StandbyMigrated
)

// String returns the name of the event.
func (e StandbyEvent) String() string {
	switch e {
	case StandbyStarted:
		return "started"
	case StandbyLoaded:
		return "loaded"
	case StandbyPromoted:
		return "promoted"
	case StandbyMigrated:
		return "migrated"
	}
	return fmt.Sprintf("StandbyEvent(%d)", int(e))
}

// StandbyUpdate is an event of a standby of a store partition.
type StandbyUpdate struct {
	StandbyInfo
	Event   StandbyEvent
	Applied int // records of the batch, of StandbyLoaded
}

// String describes it in a line, as "counts[3]: promoted at 120 of 120".
func (u StandbyUpdate) String() string {
	return fmt.Sprintf("%s[%d]: %v at %d of %d", u.Store, u.Partition, u.Event, u.Position, u.End)
}

func standbyUpdate(u instance.StandbyUpdate) StandbyUpdate {
	return StandbyUpdate{StandbyInfo: StandbyInfo(u.StandbyInfo), Event: StandbyEvent(u.Event), Applied: u.Applied}
}

// Standbys returns the standbys that this App has at present, warm-ups among them, by task and store. There are none
// while the App does not run.
func (a *App) Standbys() []StandbyInfo {
	inst := a.current()
	if inst == nil {
		return nil
	}
	infos := inst.Standbys()
	out := make([]StandbyInfo, len(infos))
	for i, info := range infos {
		out[i] = StandbyInfo(info)
	}
	return out
}
