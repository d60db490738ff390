package conformance

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

// javaCounts are the reasons for dropping a record that Kafka Streams counts as dropped-records-total. What does not enter a repartition
// topic for want of a key, or matches no branch, it does not count.
var javaCounts = []string{
	"record without key",
	"record without key to look up",
	"record without value",
	"record without valid timestamp",
	"update older than the row's latest version",
	"record does not decode",
	"function failed",
	"record could not be written",
}

type bytesTopic = stream.Topic[[]byte, []byte]

func raw(name string) bytesTopic { return stream.NewTopic(name, serde.Bytes, serde.Bytes) }

// replay runs a timeline.
func replay(t *testing.T, s spec, p program, v timeline) {
	top := p.topology(t)
	d := testdriver.New(t, top, append([]testdriver.Option{
		testdriver.ApplicationID("conformance"), testdriver.StartAt(time.UnixMilli(0)),
	}, p.options...)...)
	for i, x := range v.Steps {
		if !apply(t, d, x) {
			return
		}
		for _, topic := range s.Outputs {
			assert.Equal(t, expected(x.Out, topic), written(d, topic, slices.Contains(s.HexOutputs, topic)), "step %d, topic %s", i, topic)
		}
		if t.Failed() {
			return
		}
	}
	for _, topic := range d.Topics() {
		if !strings.HasPrefix(topic, "conformance-") {
			assert.Contains(t, s.Outputs, topic, "a topic that Kafka Streams does not write")
		}
	}
	assert.Equal(t, *v.DroppedRecords, dropped(d), "dropped records: %v", d.Dropped())
	for name, rows := range v.Stores {
		assert.Equal(t, rows, dump(t, d, name, s.Stores[name], slices.Contains(p.numbers, name)), "store %s", name)
	}
}

// apply does a step, and returns false when the driver is not usable any more.
func apply(t *testing.T, d *testdriver.Driver, x step) bool {
	if x.In == nil {
		d.Advance(time.Duration(x.AdvanceWallClockMs) * time.Millisecond)
		return true
	}
	in := testdriver.Input(d, raw(x.In.Topic)).At(time.UnixMilli(x.In.TS))
	for _, h := range x.In.Headers {
		in = in.Header(*h[0], bytesOf(h[1]))
	}
	err := in.SendBytesErr(bytesOf(x.In.Key), bytesOf(x.In.Value))
	if x.Error != nil {
		assert.Error(t, err, "Kafka Streams says: %s", x.Error.Message)
		return false
	}
	require.NoError(t, err)
	return true
}

func bytesOf(s *string) []byte {
	if s == nil {
		return nil
	}
	return append([]byte{}, *s...)
}

func expected(out []record, topic string) (texts []string) {
	for _, r := range out {
		if r.Topic == topic {
			texts = append(texts, r.text())
		}
	}
	return texts
}

func written(d *testdriver.Driver, topic string, inHex bool) (texts []string) {
	for _, r := range testdriver.Output(d, raw(topic)).Take() {
		x := record{Topic: topic, TS: r.Time.UnixMilli(), Key: render(r.Key, r.NoKey, inHex), Value: render(r.Value, r.Tombstone, inHex)}
		for _, h := range r.Headers {
			x.Headers = append(x.Headers, [2]*string{&h.Name, render(h.Value, h.Value == nil, false)})
		}
		texts = append(texts, x.text())
	}
	return texts
}

func render(b []byte, null, inHex bool) *string {
	s := string(b)
	if inHex {
		s = "0x" + hex.EncodeToString(b)
	}
	if null {
		return nil
	}
	return &s
}

func dropped(d *testdriver.Driver) int {
	n := 0
	for _, reason := range javaCounts {
		n += d.Dropped()[reason]
	}
	return n
}

// dump renders a store as the vectors do.
func dump(t *testing.T, d *testdriver.Driver, name, kind string, numbers bool) []string {
	rows := []string{}
	for r, err := range store.NewKeyValue(name, serde.Bytes, serde.Bytes).In(d).All() {
		require.NoError(t, err)
		v := string(r.Value)
		if numbers {
			n, err := serde.Int64.Decode(r.Value)
			require.NoError(t, err)
			v = fmt.Sprint(n)
		}
		switch row := string(r.Key) + "->" + v; kind {
		case "timestamped-key-value":
			rows = append(rows, fmt.Sprintf("%s@%d", row, r.Time.UnixMilli()))
		case "key-value":
			rows = append(rows, row)
		default:
			t.Fatalf("store %s has kind %s", name, kind)
		}
	}
	return rows
}
