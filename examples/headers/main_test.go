package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

func TestHeaders(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	in := testdriver.Input(d, orders)

	in.Header("environment", []byte("test")).Send("o-1", "pears")
	in.Header("trace", []byte("42")).Send("o-2", "plums")

	assert.Equal(t, "o-1", testdriver.Output(d, test).ReadOne().Key)
	r := testdriver.Output(d, production).ReadOne()
	assert.Equal(t, "o-2", r.Key)
	assert.Equal(t, stream.Headers{
		{Name: "trace", Value: []byte("42")}, {Name: "checked-by", Value: []byte("headers-example")},
	}, r.Headers)
}
