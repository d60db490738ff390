package sarama

import (
	"context"
	"time"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// group is the membership role. A request that the coordinator refused is not repeated, nor one
// that got no response: what that means is the caller's to decide. Only "not coordinator" and the
// like are handled here.
type group struct {
	pool             *connPool
	coordinators     coordinators
	rebalanceTimeout time.Duration // how long a sync may take
}

func newGroup(c *Client) *group {
	pool := newConnPool(c)
	return &group{pool: pool, coordinators: newCoordinators(pool)}
}

// call makes a request to the coordinator of the group called name.
func (g *group) call(
	ctx context.Context, what, name string, limit time.Duration, f func(*conn, *ibm.Broker) error,
) error {
	return g.pool.retryIf(ctx, what, coordinatorMoved, func(ctx context.Context) error {
		return g.coordinators.request(ctx, name, limit, f)
	})
}

// Join asks to become a member of the next generation. On an error the response has the id under
// which the coordinator knows the member.
func (g *group) Join(ctx context.Context, r kafka.JoinRequest) (kafka.JoinResponse, error) {
	resp, err := g.join(ctx, r)
	// The first join of a member only gets it an id (KIP-394), so that one that is never heard of
	// again leaves no member behind.
	if err == nil && resp.Err == ibm.ErrMemberIdRequired {
		r.MemberID = resp.MemberId
		resp, err = g.join(ctx, r)
	}
	if err == nil {
		err = codeError(resp.Err)
	}
	if err != nil {
		return kafka.JoinResponse{MemberID: r.MemberID}, err
	}
	out := kafka.JoinResponse{Generation: resp.GenerationId, MemberID: resp.MemberId, LeaderID: resp.LeaderId,
		Members: map[string][]byte{}}
	for _, m := range resp.Members {
		out.Members[m.MemberId] = m.Metadata
	}
	return out, nil
}

func (g *group) join(ctx context.Context, r kafka.JoinRequest) (resp *ibm.JoinGroupResponse, err error) {
	limit := r.RebalanceTimeout + g.pool.client.cfg.RequestTimeout
	err = g.call(ctx, "join group "+r.Group, r.Group, limit, func(cn *conn, b *ibm.Broker) error {
		g.rebalanceTimeout = r.RebalanceTimeout
		instance, err := g.pool.client.instanceID(cn)
		if err != nil {
			return err
		}
		req := &ibm.JoinGroupRequest{Version: cn.version(apiJoinGroup, 8), GroupId: r.Group, MemberId: r.MemberID,
			SessionTimeout: int32(r.SessionTimeout.Milliseconds()), RebalanceTimeout: int32(r.RebalanceTimeout.Milliseconds()),
			ProtocolType: r.ProtocolType, GroupInstanceId: instance,
			OrderedGroupProtocols: []*ibm.GroupProtocol{{Name: r.Protocol, Metadata: r.Metadata}}}
		if r.Reason != "" {
			req.Reason = &r.Reason
		}
		if resp, err = b.JoinGroup(req); err != nil || resp.Err == ibm.ErrMemberIdRequired {
			return err
		}
		return codeError(resp.Err)
	})
	return resp, err
}

// Sync sends the assignments, which the leader alone has, and returns the member's own.
func (g *group) Sync(ctx context.Context, name, memberID string, generation int32, assignments map[string][]byte) (
	assignment []byte, err error) {
	limit := g.rebalanceTimeout + g.pool.client.cfg.RequestTimeout
	err = g.call(ctx, "sync group "+name, name, limit, func(cn *conn, b *ibm.Broker) error {
		instance, err := g.pool.client.instanceID(cn)
		if err != nil {
			return err
		}
		req := &ibm.SyncGroupRequest{Version: cn.version(apiSyncGroup, 4), GroupId: name, MemberId: memberID,
			GenerationId: generation, GroupInstanceId: instance}
		for id, a := range assignments {
			req.AddGroupAssignment(id, a)
		}
		resp, err := b.SyncGroup(req)
		if err != nil {
			return err
		}
		assignment = resp.MemberAssignment
		return codeError(resp.Err)
	})
	return assignment, err
}

// Heartbeat extends the member's session.
func (g *group) Heartbeat(ctx context.Context, name, memberID string, generation int32) error {
	return g.call(ctx, "heartbeat to group "+name, name, g.pool.client.cfg.RequestTimeout,
		func(cn *conn, b *ibm.Broker) error {
			instance, err := g.pool.client.instanceID(cn)
			if err != nil {
				return err
			}
			resp, err := b.Heartbeat(&ibm.HeartbeatRequest{Version: cn.version(apiHeartbeat, 4), GroupId: name,
				MemberId: memberID, GenerationId: generation, GroupInstanceId: instance})
			if err != nil {
				return err
			}
			return codeError(resp.Err)
		})
}

// Leave ends the membership, so that others need not wait until the session times out.
func (g *group) Leave(ctx context.Context, name, memberID, reason string) error {
	return g.call(ctx, "leave group "+name, name, g.pool.client.cfg.RequestTimeout, func(cn *conn, b *ibm.Broker) error {
		m := ibm.MemberIdentity{MemberId: memberID}
		if reason != "" {
			m.Reason = &reason
		}
		resp, err := b.LeaveGroup(&ibm.LeaveGroupRequest{Version: cn.version(apiLeaveGroup, 5), GroupId: name,
			MemberId: memberID,
			Members:  []ibm.MemberIdentity{m}})
		if err != nil {
			return err
		}
		if err := codeError(resp.Err); err != nil {
			return err
		}
		// Since version 3 several members may leave at once, each with a code of its own.
		for _, m := range resp.Members {
			if err := codeError(m.Err); err != nil {
				return err
			}
		}
		return nil
	})
}

// Abort makes a waiting call return.
func (g *group) Abort() { g.pool.abort() }

// Close closes the connections; a waiting call returns.
func (g *group) Close() { g.pool.close() }
