package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestFinalWindows(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	nine := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	in, out := testdriver.Input(d, clicks), testdriver.Output(d, perHour)

	in.At(nine.Add(10*time.Minute)).Send("/", "anna")
	in.At(nine.Add(62*time.Minute)).Send("/", "ben")
	in.At(nine.Add(50*time.Minute)).Send("/", "ben") // late, but within the grace period
	assert.True(t, out.IsEmpty())

	in.At(nine.Add(65*time.Minute)).Send("/cart", "anna") // ten o'clock and five minutes: the first hour is closed
	r := out.ReadOne()
	assert.Equal(t, "/@2026-05-01T09:00:00Z/2026-05-01T10:00:00Z", r.Key.String())
	assert.Equal(t, int64(2), r.Value)

	in.At(nine.Add(55*time.Minute)).Send("/", "eve")
	assert.True(t, out.IsEmpty())
	assert.Len(t, d.Dropped(), 1, "too late, and counted")
}
