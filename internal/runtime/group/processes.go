package group

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
)

// Processes returns the ids of the processes that are members of a group, whose members are given as its coordinator
// has described them. It returns ErrRebalanceInProgress while the group rebalances: who is in the next generation is
// not certain. What a member does not say of itself is an error, too: nobody may be taken for dead then.
func Processes(members []kafka.GroupMember) (map[[16]byte]bool, error) {
	processes := make(map[[16]byte]bool, len(members))
	for _, m := range members {
		if len(m.Metadata) == 0 {
			return nil, kafka.ErrRebalanceInProgress
		}
		subscription, err := assign.DecodeSubscription(m.Metadata)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", m.ID, err)
		}
		if subscription.Process == ([16]byte{}) {
			return nil, fmt.Errorf("member %s does not say which process it is", m.ID)
		}
		processes[subscription.Process] = true
	}
	return processes, nil
}
