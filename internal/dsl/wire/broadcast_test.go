package wire_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

type (
	rec    = topology.Record[string, int]
	outlet = wire.Outlet[string, int]
	change = wire.Change[string, int]
	rows   = wire.TableOutlet[string, int]
)

func TestBroadcast_CallsAllInOrderUntilOneFails(t *testing.T) {
	var got []int
	fail := errors.New("no")
	note := func(i int, err error) outlet {
		return func(rec) error { got = append(got, i); return err }
	}
	out := wire.Broadcast[string, int]([]any{note(1, nil), note(2, nil)}).(outlet)
	require.NoError(t, out(rec{}))
	out = wire.Broadcast[string, int]([]any{note(3, nil), note(4, fail), note(5, nil)}).(outlet)
	require.ErrorIs(t, out(rec{}), fail)
	require.NoError(t, wire.Broadcast[string, int](nil).(outlet)(rec{}), "nobody listens")
	require.NoError(t, wire.Broadcast[string, int]([]any{note(6, nil)}).(outlet)(rec{}))
	assert.Equal(t, []int{1, 2, 3, 4, 6}, got)
}

func TestBroadcastTable_CallsAllInOrderUntilOneFails(t *testing.T) {
	var got []int
	fail := errors.New("no")
	note := func(i int, err error) rows {
		return func(change) error { got = append(got, i); return err }
	}
	out := wire.BroadcastTable[string, int]([]any{note(1, nil), note(2, fail), note(3, nil)}).(rows)
	require.ErrorIs(t, out(change{}), fail)
	require.NoError(t, wire.BroadcastTable[string, int](nil).(rows)(change{}), "nobody listens")
	require.NoError(t, wire.BroadcastTable[string, int]([]any{note(4, nil)}).(rows)(change{}))
	assert.Equal(t, []int{1, 2, 4}, got)
}
