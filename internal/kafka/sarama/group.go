package sarama

import (
	"context"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// group is the membership role. A request that the coordinator refused is not repeated, nor one whose answer was lost: the
// caller knows what it means. Only "not coordinator" and the like are cured here.
type group struct {
	r         *role
	coord     coordinators
	rebalance time.Duration // how long a sync may take
}

func (g *group) call(ctx context.Context, what, name string, limit time.Duration, f func(*link, *sarama.Broker) error) error {
	return g.r.retryIf(ctx, what, elsewhere, func(ctx context.Context) error {
		g.coord.r = g.r
		addr, err := g.coord.of(ctx, name)
		if err != nil {
			return err
		}
		_, err = askFor(ctx, g.r, addr, limit, func(l *link, b *sarama.Broker) (struct{}, error) { return struct{}{}, f(l, b) })
		g.coord.forget(name, err)
		return err
	})
}

// Join asks to become a member of the next generation. On an error the response has the id under which the coordinator knows the member.
func (g *group) Join(ctx context.Context, r kafka.JoinRequest) (kafka.JoinResponse, error) {
	resp, err := g.join(ctx, r)
	if err == nil && resp.Err == sarama.ErrMemberIdRequired {
		r.MemberID = resp.MemberId
		resp, err = g.join(ctx, r)
	}
	if err == nil {
		err = failure(resp.Err)
	}
	if err != nil {
		return kafka.JoinResponse{MemberID: r.MemberID}, err
	}
	out := kafka.JoinResponse{Generation: resp.GenerationId, MemberID: resp.MemberId, LeaderID: resp.LeaderId, Members: map[string][]byte{}}
	for _, m := range resp.Members {
		out.Members[m.MemberId] = m.Metadata
	}
	return out, nil
}

func (g *group) join(ctx context.Context, r kafka.JoinRequest) (resp *sarama.JoinGroupResponse, err error) {
	limit := r.RebalanceTimeout + g.r.c.cfg.RequestTimeout
	err = g.call(ctx, "join group "+r.Group, r.Group, limit, func(l *link, b *sarama.Broker) error {
		g.rebalance = r.RebalanceTimeout
		req := &sarama.JoinGroupRequest{Version: l.version(apiJoinGroup, 8), GroupId: r.Group, MemberId: r.MemberID,
			SessionTimeout: int32(r.SessionTimeout.Milliseconds()), RebalanceTimeout: int32(r.RebalanceTimeout.Milliseconds()),
			ProtocolType:          r.ProtocolType,
			OrderedGroupProtocols: []*sarama.GroupProtocol{{Name: r.Protocol, Metadata: r.Metadata}}}
		if r.Reason != "" {
			req.Reason = &r.Reason
		}
		if resp, err = b.JoinGroup(req); err != nil || resp.Err == sarama.ErrMemberIdRequired {
			return err
		}
		return failure(resp.Err)
	})
	return resp, err
}

// Sync gives the leader's assignments and returns the member's own.
func (g *group) Sync(ctx context.Context, name, memberID string, generation int32, assignments map[string][]byte) (mine []byte, err error) {
	err = g.call(ctx, "sync group "+name, name, g.rebalance+g.r.c.cfg.RequestTimeout, func(l *link, b *sarama.Broker) error {
		req := &sarama.SyncGroupRequest{Version: l.version(apiSyncGroup, 4), GroupId: name, MemberId: memberID, GenerationId: generation}
		for id, a := range assignments {
			req.AddGroupAssignment(id, a)
		}
		resp, err := b.SyncGroup(req)
		if err != nil {
			return err
		}
		mine = resp.MemberAssignment
		return failure(resp.Err)
	})
	return mine, err
}

// Heartbeat tells the coordinator that the member lives.
func (g *group) Heartbeat(ctx context.Context, name, memberID string, generation int32) error {
	return g.call(ctx, "heartbeat to group "+name, name, g.r.c.cfg.RequestTimeout, func(l *link, b *sarama.Broker) error {
		resp, err := b.Heartbeat(&sarama.HeartbeatRequest{Version: l.version(apiHeartbeat, 4), GroupId: name, MemberId: memberID, GenerationId: generation})
		if err != nil {
			return err
		}
		return failure(resp.Err)
	})
}

// Leave ends the membership, so that others need not wait for the session to run out.
func (g *group) Leave(ctx context.Context, name, memberID, reason string) error {
	return g.call(ctx, "leave group "+name, name, g.r.c.cfg.RequestTimeout, func(l *link, b *sarama.Broker) error {
		m := sarama.MemberIdentity{MemberId: memberID}
		if reason != "" {
			m.Reason = &reason
		}
		resp, err := b.LeaveGroup(&sarama.LeaveGroupRequest{Version: l.version(apiLeaveGroup, 5), GroupId: name, MemberId: memberID,
			Members: []sarama.MemberIdentity{m}})
		if err != nil {
			return err
		}
		if err := failure(resp.Err); err != nil {
			return err
		}
		for _, m := range resp.Members {
			if err := failure(m.Err); err != nil {
				return err
			}
		}
		return nil
	})
}

// Abort makes a waiting call return.
func (g *group) Abort() { g.r.abort() }

// Close closes the connections; a waiting call returns.
func (g *group) Close() { g.r.close() }
