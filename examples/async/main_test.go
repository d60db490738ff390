package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestAsync(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.ManualCommit())
	in, out := testdriver.Input(d, visits), testdriver.Output(d, greeting)

	in.Send("anna", "/")
	in.Send("ben", "/cart")
	d.Commit() // waits for the calls in flight

	assert.Equal(t, []string{"Hello anna, welcome to /", "Hello ben, welcome to /cart"}, out.ReadValues())
}
