package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestDedup(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	in, out := testdriver.Input(d, events).Advancing(20*time.Minute), testdriver.Output(d, unique)

	in.Send("e-1", "paid")
	in.Send("e-1", "paid") // the copy
	in.Send("e-2", "sent")
	assert.Equal(t, []string{"paid", "sent"}, out.ReadValues())

	d.Restart() // the ids are in the store's changelog
	in.Send("e-2", "sent")
	assert.True(t, out.IsEmpty())

	in.AdvanceTime(2 * time.Hour)
	in.Send("e-1", "paid")
	assert.Equal(t, []string{"paid"}, out.ReadValues(), "too late for a copy")
}
