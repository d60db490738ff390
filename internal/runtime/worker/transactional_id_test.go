package worker

import (
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseTransactionalID(t *testing.T) {
	w := &Worker{cfg: Config{Group: "a-b", Process: [16]byte{1, 0xfe}, ID: 12}}
	id := w.transactionalID()
	got, ok := ParseTransactionalID("a-b", id)
	assert.True(t, ok, id)
	assert.Equal(t, TransactionalID{Process: w.cfg.Process, Worker: 12}, got)
	w.anotherID = rand.Text()
	got, ok = ParseTransactionalID("a-b", w.transactionalID())
	assert.True(t, ok)
	assert.Equal(t, TransactionalID{Process: w.cfg.Process, Worker: 12, Another: true}, got)

	const process = "01fe0000000000000000000000000000"
	for _, id := range []string{
		"", "a-b", "a-b-", "a-b-" + process, "a-b-" + process + "-", "a-b-" + process + "-x", "a-b-" + process + "-01",
		"a-b-" + process + "-1-", "a-b-" + process + "-1-x", "a-b-" + process[1:] + "-1", "a-b-0" + process + "-1",
		"a-b-" + "01FE0000000000000000000000000000" + "-1", "a-c-" + process + "-1", "a-b-" + process + "--1",
		// Of the application a-b-01fe..., whose name begins like an id of a-b.
		"a-b-" + process + "-" + process + "-1",
	} {
		_, ok := ParseTransactionalID("a-b", id)
		assert.False(t, ok, id)
	}
	_, ok = ParseTransactionalID("a", id)
	assert.False(t, ok, "it is of a-b")
}
