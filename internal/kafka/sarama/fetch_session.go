package sarama

import (
	"errors"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// fetchSession is what the broker remembers of a reader's requests (KIP-227): the partitions, and
// from where each is read. A request names only what has changed since the one before, and a
// response only the partitions of which there is something to say. Requests that name everything
// made an idle reader of many partitions the broker's most expensive client.
type fetchSession struct {
	id    int32
	epoch int32 // the number of the next request in the session; 0: it names everything and opens a session
	named map[kafka.TopicPartition]namedPartition
	// unanswered reports that a request was made and not answered. Nobody knows whether the broker has
	// seen it, so the next request opens another session.
	unanswered bool

	// What the request under way changes. Their memory is used again.
	changed   []*fetchPartition
	forgotten []kafka.TopicPartition
}

// namedPartition is what the broker was last asked for of one partition.
type namedPartition struct {
	position    int64
	leaderEpoch int32
	maxBytes    int32
}

// begin finds what a request for wanted has to name.
func (s *fetchSession) begin(wanted map[kafka.TopicPartition]*fetchPartition) {
	clear(s.changed) // otherwise the records of a partition that was removed stay until its place is used again
	s.changed, s.forgotten = s.changed[:0], s.forgotten[:0]
	// The id stays: a broker frees the session whose id is in a request that opens another one.
	if s.unanswered || s.epoch == 0 || s.isSilentOn(wanted) {
		s.epoch = 0
		clear(s.named)
	}
	s.unanswered = true
	for tp, p := range wanted {
		now := namedPartition{p.position, p.leaderEpoch, p.maxBytes}
		if before, named := s.named[tp]; named && before == now {
			continue
		}
		s.named[tp] = now
		s.changed = append(s.changed, p)
	}
	if len(s.named) == len(wanted) {
		return
	}
	// The broker would go on to send what nobody has room for.
	for tp := range s.named {
		if wanted[tp] == nil {
			delete(s.named, tp)
			s.forgotten = append(s.forgotten, tp)
		}
	}
}

// isSilentOn reports whether a partition waits for a response that the session may not have: it was
// added again, or another broker failed it, at a position that the broker has answered already. Only
// an answer tells where the log ends, and that the partition is read again. To name it would not do:
// a broker remembers what it has said of a partition until the session is another one.
func (s *fetchSession) isSilentOn(wanted map[kafka.TopicPartition]*fetchPartition) bool {
	for tp, p := range wanted {
		if p.deliveredOnce && p.lastErr == nil {
			continue
		}
		if _, named := s.named[tp]; named {
			return true
		}
	}
	return false
}

// answered notes the session's id in the response. It is 0 if the broker has no room for another
// session; then the next request names everything again, and asks again for a session.
func (s *fetchSession) answered(id int32) {
	s.id, s.unanswered = id, false
	switch {
	case id == 0:
		s.epoch = 0
	case s.epoch == 1<<31-1:
		s.epoch = 1 // as the broker counts
	default:
		s.epoch++
	}
}

// isSessionLost reports whether the broker does not know the session: it was restarted, or needed
// the room for others.
func isSessionLost(err error) bool {
	return errors.Is(err, ibm.ErrFetchSessionIDNotFound) || errors.Is(err, ibm.ErrInvalidFetchSessionEpoch)
}
