package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

func TestSessions(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	nine := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	in, out := testdriver.Input(d, pages), testdriver.Output(d, visits)

	in.At(nine).Send("anna", "/")
	in.At(nine.Add(20*time.Minute)).Send("anna", "/cart")
	assert.True(t, out.IsEmpty(), "the visit may go on")

	in.At(nine.Add(time.Hour)).Send("ben", "/") // stream time: Anna's visit has ended
	r := out.ReadOne()
	assert.Equal(t, window.Key[string]{Key: "anna", Start: local(nine), End: local(nine.Add(20 * time.Minute))}, r.Key)
	assert.Equal(t, int64(2), r.Value)
}

// local returns t as keys of windows have their times.
func local(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()) }
