package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestGlobalTable(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.TopicPartitions("payments", 4))

	testdriver.Input(d, countries).Send("IT", "Italy")
	in := testdriver.Input(d, payments)
	in.Send("p-1", Payment{Country: "IT", Cents: 250})
	in.Send("p-2", Payment{Country: "XX", Cents: 120})

	assert.Equal(t, map[string]Payment{
		"p-1": {Country: "IT", Name: "Italy", Cents: 250}, "p-2": {Country: "XX", Name: "unknown", Cents: 120},
	}, testdriver.Table(testdriver.Output(d, completed)))
}
