package conformance

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
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
	"record too late: its window is closed",
	"older than what its store keeps",
	"update older than the row's latest version",
	"row without foreign key",
	"answer to a row that has changed since",
	"record does not decode",
	"function failed",
	"record could not be written",
}

// inMemory is what Kafka Streams counts with stores in memory only: those on disk take such records as long as their segment lives.
const inMemory = "record joined, but too late to be kept for later partners"

type bytesTopic = stream.Topic[[]byte, []byte]

func raw(name string) bytesTopic { return stream.NewTopic(name, serde.Bytes, serde.Bytes) }

// replay runs a timeline.
func replay(t *testing.T, s spec, p program, v timeline) *testdriver.Driver {
	top := p.topology(t)
	d := testdriver.New(t, top, append([]testdriver.Option{
		testdriver.ApplicationID("conformance"), testdriver.StartAt(time.UnixMilli(0)),
	}, p.options...)...)
	for i, x := range v.Steps {
		if !apply(t, d, x) {
			return d
		}
		for _, topic := range s.Outputs {
			want, got := expected(x.Out, topic), written(d, topic, slices.Contains(s.HexOutputs, topic))
			if strings.HasSuffix(topic, "-changelog") { // what a commit deletes comes last: see docs/differences.md
				slices.Sort(want)
				slices.Sort(got)
			}
			assert.Equal(t, want, got, "step %d, topic %s", i, topic)
		}
		if t.Failed() {
			return d
		}
	}
	for _, topic := range d.Topics() {
		if !strings.HasPrefix(topic, "conformance-") {
			assert.Contains(t, s.Outputs, topic, "a topic that Kafka Streams does not write")
		}
	}
	assert.Equal(t, *v.DroppedRecords, dropped(d, s), "dropped records: %v", d.Dropped())
	for name, rows := range v.Stores {
		assert.Equal(t, rows, dump(t, d, name, s.Stores[name], slices.Contains(p.numbers, name)), "store %s", name)
	}
	return d
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
	for _, r := range testdriver.Output(d, raw(topic)).Read() {
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

func dropped(d *testdriver.Driver, s spec) int {
	n := 0
	if strings.Contains(strings.Join(s.PseudoDsl, ""), "storeType=in-memory") {
		n = d.Dropped()[inMemory]
	}
	for _, reason := range javaCounts {
		n += d.Dropped()[reason]
	}
	return n
}

// dump renders a store as the vectors do.
func dump(t *testing.T, d store.Opener, name, kind string, numbers bool) []string {
	h, err := d.OpenStore(name)
	require.NoError(t, err)
	text := func(v []byte) string {
		if !numbers {
			return string(v)
		}
		n, err := serde.Int64.Decode(v)
		require.NoError(t, err)
		return dec(n)
	}
	rows := []string{}
	add := func(err error, format string, args ...any) {
		require.NoError(t, err)
		rows = append(rows, fmt.Sprintf(format, args...))
	}
	switch kind {
	case "timestamped-key-value":
		for r, err := range h.Bytes.Scan(storage.Range{}) {
			add(err, "%s->%s@%d", r.Key, text(r.Value), r.Time)
		}
	case "key-value":
		for r, err := range h.Bytes.Scan(storage.Range{}) {
			add(err, "%s->%s", r.Key, text(r.Value))
		}
	case "window":
		for r, err := range h.Windows.All(storage.Range{}, 0, math.MaxInt64) {
			add(err, "%s@%d->%s@%d", r.Key, r.Start, text(r.Value), r.Time)
		}
	case "session":
		for _, r := range sessionsOf(t, h.Sessions) {
			add(nil, "%s@%d-%d->%s", r.Key, r.Start, r.End, text(r.Value))
		}
	case "versioned":
		for r, err := range h.Versions.Latest() {
			add(err, "%s->%s@%d", r.Key, text(r.Value), r.Time)
		}
	default:
		t.Fatalf("store %s has kind %s", name, kind)
	}
	return rows
}

// sessionsOf returns the rows of a session store by key, start and end: the store has those of a key by end.
func sessionsOf(t *testing.T, s storage.SessionBytes) (rows []storage.WindowEntry) {
	for r, err := range s.All(storage.Range{}, 0, math.MaxInt64) {
		require.NoError(t, err)
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b storage.WindowEntry) int {
		return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
	return rows
}
