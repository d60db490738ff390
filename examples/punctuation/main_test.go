package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestPunctuation(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	in, out := testdriver.Input(d, readings), testdriver.Output(d, silent)

	in.Send("attic", 21.5)
	heard := d.Now()
	d.Advance(6 * time.Minute)
	in.Send("cellar", 12)
	assert.True(t, out.IsEmpty())

	d.Advance(5 * time.Minute)
	r := out.ReadOne()
	assert.Equal(t, "attic", r.Key)
	assert.Equal(t, heard, r.Value)

	d.Advance(time.Minute)
	assert.True(t, out.IsEmpty(), "a sensor is reported once")
}
