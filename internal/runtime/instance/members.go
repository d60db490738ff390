package instance

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
	"github.com/millstream-go/millstream/internal/runtime/group"
)

// MemberInfo describes a member of the group.
type MemberInfo struct {
	Member, ClientID, Host string
	Process                [16]byte
	Tasks                  []string
	Standbys               []string
}

const (
	membersTimeout = 10 * time.Second
	// membersInterval is the time between two look-ups of the members of one generation, while somebody asks.
	membersInterval = 10 * time.Second
)

// members are the members of the group, as its coordinator has described them last. They are looked up when somebody
// asks for them, and not with each rebalance: a description has the subscriptions and assignments of all members.
type members struct {
	mu         sync.Mutex
	infos      []MemberInfo // replaced, never changed
	of         *group.Membership
	at         time.Time
	refreshing bool
	closed     bool // no look-up begins any more
}

func (m *members) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

// get returns what is known, and has it looked up again if it may be of another generation.
func (m *members) get(inst *Instance, current *group.Membership) []MemberInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); !m.refreshing && !m.closed && (m.of != current || now.Sub(m.at) > membersInterval) {
		m.refreshing = true
		inst.background(func() { m.refresh(inst, current) })
	}
	return m.infos
}

func (m *members) refresh(inst *Instance, current *group.Membership) {
	ctx, cancel := context.WithTimeout(inst.ctx, membersTimeout)
	defer cancel()
	found, err := inst.admin.GroupMembers(ctx, inst.cfg.ApplicationID)
	if err != nil && inst.ctx.Err() == nil {
		inst.cfg.Logger.Debug("millstream: describing the group failed", "error", err)
	}
	var infos []MemberInfo
	if err == nil {
		infos = describeMembers(found)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refreshing, m.at = false, time.Now()
	if infos != nil { // nil: not answered, or the group rebalances, and what was known is shown until it is over
		m.infos, m.of = infos, current
	}
}

// describeMembers returns nil when the group rebalances: who is in the next generation is not certain.
func describeMembers(found []kafka.GroupMember) []MemberInfo {
	infos := make([]MemberInfo, 0, len(found))
	for _, member := range found {
		if len(member.Metadata) == 0 {
			return nil
		}
		info := MemberInfo{Member: member.ID, ClientID: member.ClientID, Host: member.Host}
		// Members of other programs are members, too; what they run cannot be read.
		if sub, err := assign.DecodeSubscription(member.Metadata); err == nil {
			info.Process = sub.Process
			if a, err := assign.DecodeAssignment(member.Assignment, sub.Subtopologies); err == nil {
				for _, id := range a.Tasks {
					info.Tasks = append(info.Tasks, id.String())
				}
				for _, id := range a.Standbys {
					info.Standbys = append(info.Standbys, id.String())
				}
			}
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b MemberInfo) int { return strings.Compare(a.Member, b.Member) })
	return infos
}
