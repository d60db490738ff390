package main

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestRunToEnd(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	in := testdriver.Input(d, sales)
	in.Send("north", 250)
	in.Send("south", 120)
	in.Send("north", 50)
	assert.Equal(t, map[string]int64{"north": 300, "south": 120}, testdriver.Table(testdriver.Output(d, sums)))
}

// The test driver has no end of topics to run to: that takes an App and a broker.
func TestRunToEnd_EndsWithItsInput(t *testing.T) {
	b := broker.Start(t, broker.Topic("sales", 2), broker.Topic("sums", 2))
	require.NoError(t, b.Produce(t.Context(), "sales",
		broker.Record{Key: []byte("north"), Value: cents(250)}, broker.Record{Key: []byte("north"), Value: cents(50)}))

	require.NoError(t, run(t.Context(), t.TempDir(), b.Brokers()...))

	records, err := b.Read(t.Context(), "sums")
	require.NoError(t, err)
	require.Len(t, records, 2)
	assert.Equal(t, cents(300), records[1].Value)
}

func cents(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
