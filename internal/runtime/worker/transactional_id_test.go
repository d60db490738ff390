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

func TestParseTransactionalID_OfKafkaStreams(t *testing.T) {
	const process = "6cbda5e4-c9ae-4b83-8405-324f9ca0f3e3"
	got, ok := ParseTransactionalID("a-b", "a-b-"+process+"-12")
	assert.True(t, ok)
	want := [16]byte{0x6c, 0xbd, 0xa5, 0xe4, 0xc9, 0xae, 0x4b, 0x83, 0x84, 0x05, 0x32, 0x4f, 0x9c, 0xa0, 0xf3, 0xe3}
	assert.Equal(t, TransactionalID{Process: want, Worker: 12, KafkaStreams: true}, got)
	for _, id := range []string{
		"a-b-" + process, "a-b-" + process + "-", "a-b-" + process + "-x", "a-b-" + process + "-01", "a-b-" + process + "-1-1",
		"a-b-6CBDA5E4-c9ae-4b83-8405-324f9ca0f3e3-1", "a-b-6cbda5e4-c9ae-4b83-8405-324f9ca0f3eg-1", "a-b-6cbda5e4c-9ae-4b83-8405-324f9ca0f3e3-1",
		// Of the application a-b-6cbda5e4-..., and of exactly_once, which brokers of Kafka 4 have no clients of.
		"a-b-" + process + "-" + process + "-1", "a-b-1_3",
	} {
		_, ok := ParseTransactionalID("a-b", id)
		assert.False(t, ok, id)
	}
	_, ok = ParseTransactionalID("a", "a-b-"+process+"-12")
	assert.False(t, ok, "it is of a-b")
}
