package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestDeadLetters(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	in, out := testdriver.Input(d, visits), testdriver.Output(d, places)

	in.Send("anna", Visit{Address: "Via Roma 1"})
	in.Send("ben", Visit{Address: "nowhere"})
	in.Send("eve", Visit{})
	in.SendBytes([]byte("dan"), []byte("{"))

	assert.Equal(t, []string{"Rome"}, out.ReadValues())
	letters := d.Raw("visits-rejected")
	require.Len(t, letters, 2)
	assert.JSONEq(t, `{"Address":"nowhere"}`, string(letters[0].Value))
	reason, _ := letters[0].Headers.Get("__streams.errors.message")
	assert.Equal(t, "unknown address", string(reason))
	assert.Equal(t, "{", string(letters[1].Value))
	assert.Equal(t, 1, d.Dropped()["no address"])
	assert.Len(t, d.Failures(), 5, "four calls for ben, one for dan")
}
