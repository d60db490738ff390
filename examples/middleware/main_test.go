package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestMiddleware(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	records.Init() // the process's, in which an earlier run of this test has counted

	in := testdriver.Input(d, lines)
	in.Send("k", "to be")
	in.Send("k", "or not")

	assert.Equal(t, []string{"TO BE", "OR NOT"}, testdriver.Output(d, loud).ReadValues())
	assert.JSONEq(t, `{"lines": 2, "upper": 2, "loud": 2}`, records.String())
}
