package group

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// longSession: a rebalance that waits for a member that nobody is any more takes a minute.
func longSession(c *Config) {
	c.SessionTimeout, c.RebalanceTimeout, c.HeartbeatInterval = time.Minute, 5*time.Minute, 3*time.Second
}

// A member is answered that it is unknown, while the coordinator still has it, or has it again. It joins under another
// id, and the group does not wait for the old one.
func TestAbandoned_IDsLeave(t *testing.T) {
	for _, c := range []struct {
		name   string
		key    kmsg.Key
		leaves int // how many requests to leave are answered that the id is unknown, too
		limit  time.Duration
	}{
		{"heartbeat", kmsg.Heartbeat, 0, 5 * time.Second},
		{"commit", kmsg.OffsetCommit, 0, 5 * time.Second},
		{"join", kmsg.JoinGroup, 0, 5 * time.Second},
		{"sync", kmsg.SyncGroup, 0, 5 * time.Second},
		{"coordinator that knows it again", kmsg.Heartbeat, 2, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(w *cluster) {
				w.every = time.Second
				a, b := w.pair(longSession)
				id := b.group.Membership().Member
				isB := func(r kmsg.Request) bool {
					switch r := r.(type) {
					case *kmsg.HeartbeatRequest:
						return r.MemberID == id
					case *kmsg.JoinGroupRequest:
						return r.MemberID == id
					case *kmsg.SyncGroupRequest:
						return r.MemberID == id
					case *kmsg.OffsetCommitRequest:
						return r.MemberID == id
					}
					return false
				}
				leave := w.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.LeaveGroup}, Err: kerr.UnknownMemberID, TopLevel: true,
					Count: max(c.leaves, 1), When: func(kmsg.Request) bool { return c.leaves > 0 }})
				unknown := w.fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: kerr.UnknownMemberID,
					TopLevel: c.key != kmsg.OffsetCommit, When: isB})
				if c.key == kmsg.JoinGroup || c.key == kmsg.SyncGroup {
					b.group.Rejoin("to be answered with an error")
				}
				b.losesTasks(2)
				took := b.has(2)
				t.Logf("tasks again after %v", took)
				assert.Less(t, took, c.limit)
				assert.Equal(t, 1, unknown.Hits())
				assert.Equal(t, c.leaves, leave.Hits())
				a.has(2)
				generation := a.group.Membership().Generation
				pass(70 * time.Second)
				assert.Equal(t, generation, a.group.Membership().Generation, "the group is stable")
				assert.Empty(t, b.group.abandoned.pending())
				a.stop()
				b.stop()
			})
		})
	}
}

// A coordinator gives a new member an id, and does not know it when the member joins with it, as when it was replaced
// in between. Nothing is lost by that.
func TestAbandoned_IDThatWasJustGiven(t *testing.T) {
	simulate(t, func(w *cluster) {
		a := w.start("a", longSession)
		a.has(4)
		h := w.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.UnknownMemberID, TopLevel: true,
			When: func(r kmsg.Request) bool {
				id := r.(*kmsg.JoinGroupRequest).MemberID
				return id != "" && id != a.group.Membership().Member
			}})
		b := w.start("b", longSession)
		took := b.has(2)
		t.Logf("tasks after %v", took)
		assert.Equal(t, 1, h.Hits())
		assert.Less(t, took, 5*time.Second)
		b.mu.Lock()
		log := strings.Join(b.log, "\n")
		b.mu.Unlock()
		assert.NotContains(t, log, "no longer has this member")
		a.has(2)
		a.stop()
		b.stop()
	})
}

// A member that stops while an id of it may still be in the group leaves with both.
func TestAbandoned_StopLeavesAll(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair(longSession)
		id := b.group.Membership().Member
		leave := w.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.LeaveGroup}, Err: kerr.UnknownMemberID, TopLevel: true, Count: 1})
		w.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true,
			When: func(r kmsg.Request) bool { return r.(*kmsg.HeartbeatRequest).MemberID == id }})
		b.losesTasks(2)
		w.until("the old id is refused", func() bool { return leave.Hits() == 1 })
		b.stop()
		assert.Less(t, a.has(4), 5*time.Second)
		a.stop()
	})
}
