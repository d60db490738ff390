package group

import (
	"time"

	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// The reasons for which a member joins. There are few of them, so that they can be counted one by one.
const (
	reasonStart      = "start"
	reasonGroup      = "the group rebalances"
	reasonGeneration = "the group is in another generation"
	reasonReleased   = "revoked tasks were released"
	reasonLost       = "the group no longer has this member"
	reasonTopics     = "topics have changed"
	reasonLag        = "it was not known how far members are behind"
	reasonReturned   = "a static member has come back"
	// Those that Rejoin is called with.
	ReasonWarmedUp = "a task has warmed up"
	ReasonCleanUp  = "files of tasks that run elsewhere have not been used for a day"
)

// Rebalance describes a rebalance that has ended, as this member has seen it.
type Rebalance struct {
	Generation int32
	Reason     string        // why this member has joined
	Took       time.Duration // from its join until it knew its tasks
	Tasks      int           // that it has
	New        []topics.Task // those that it did not have before
	Revoked    int           // those that go to other members
}
