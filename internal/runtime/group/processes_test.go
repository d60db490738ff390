package group

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
)

// Nobody is taken for dead unless all members say who they are.
func TestProcesses(t *testing.T) {
	member := func(process byte) kafka.GroupMember {
		s := assign.Subscription{Process: [16]byte{process}}
		return kafka.GroupMember{ID: "m", Metadata: s.Encode()}
	}
	got, err := Processes([]kafka.GroupMember{member(1), member(2), member(1)})
	require.NoError(t, err)
	assert.Equal(t, map[[16]byte]bool{{1}: true, {2}: true}, got)

	got, err = Processes(nil)
	require.NoError(t, err, "a group without members")
	assert.Empty(t, got)

	_, err = Processes([]kafka.GroupMember{member(1), {ID: "joining"}})
	assert.ErrorIs(t, err, kafka.ErrRebalanceInProgress)
	_, err = Processes([]kafka.GroupMember{member(1), member(0)})
	assert.ErrorContains(t, err, "does not say which process")
	broken := member(2)
	broken.Metadata = broken.Metadata[:len(broken.Metadata)/2]
	_, err = Processes([]kafka.GroupMember{member(1), broken})
	assert.ErrorContains(t, err, "member m")
}
