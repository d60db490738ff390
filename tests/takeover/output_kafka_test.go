//go:build kafka

package takeover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/window"
)

// output is a topic that the program writes.
type output struct {
	decode func(key, value []byte) (string, string, error)
	// A table: the last result of a key counts. Else each result does.
	table bool
	// Of a table: each change has one result, in an order that follows from the input.
	changes bool
	// Results come when stream time has passed, not with a record that is known.
	later bool
	// Results have the times that follow from the input.
	times bool
	// What is processed twice may make results that are too high, or too low, too.
	atLeast, unknown bool
	// Rows are sessions, and those of Kafka Streams may be torn where it is killed, at least once: its changelog has the deletion of
	// the shorter session before the longer one that replaces it.
	sessions bool
}

// outputs are the topics that the program writes.
var outputs = map[string]output{
	"word-counts":      {decode: counted(serde.String), table: true, changes: true, atLeast: true},
	"click-windows":    {decode: counted(windowKey), table: true, changes: true, times: true, atLeast: true},
	"click-finals":     {decode: counted(windowKey), table: true, changes: true, later: true, times: true, atLeast: true},
	"visit-sessions":   {decode: counted(window.SessionKey(serde.String)), table: true, changes: true, unknown: true, sessions: true},
	"purchases-joined": {decode: text, times: true},
	"city-counts":      {decode: counted(serde.String), table: true, unknown: true},
	"sales-priced":     {decode: text, times: true},
	"sales-settled":    {decode: text, times: true, later: true},
	"pairs-inner":      {decode: text, times: true},
	"pairs-left":       {decode: text, times: true, later: true},
	"pairs-outer":      {decode: text, times: true, later: true},
	"orders-sold":      {decode: text, table: true},
	"orders-all-sold":  {decode: text, table: true},
}

func outputTopics() []string { return slices.Sorted(maps.Keys(outputs)) }

var windowKey = window.TimeKey(serde.String, window.Tumbling(windowSize))

func text(key, value []byte) (string, string, error) {
	return string(key), orNone(value, string(value)), nil
}

// none is the value of a tombstone.
const none = "none"

func orNone(value []byte, s string) string {
	if value == nil {
		return none
	}
	return s
}

// counted decodes a key and a count.
func counted[K any](keys serde.Serde[K]) func(key, value []byte) (string, string, error) {
	return func(key, value []byte) (string, string, error) {
		k, err := keys.Decode(key)
		if err != nil || value == nil {
			return keyText(k), none, err
		}
		n, err := serde.Int64.Decode(value)
		return keyText(k), fmt.Sprint(n), err
	}
}

func keyText(key any) string {
	if w, ok := key.(window.Key[string]); ok {
		return fmt.Sprintf("%s@%d-%d", w.Key, w.Start.UnixMilli(), w.End.UnixMilli())
	}
	return key.(string)
}

// result is a record of an output.
type result struct {
	key, value string
	at         int64  // ms since 1970
	where      string // partition and offset
}

func (r result) text(o output) string {
	if o.times {
		return fmt.Sprintf("%s = %s at %d", r.key, r.value, r.at)
	}
	return r.key + " = " + r.value
}

// reader reads all outputs, committed records only.
type reader struct {
	mu      sync.Mutex
	results map[string][]result
}

func read(t *testing.T, broker, prefix string) *reader {
	t.Helper()
	var topics []string
	for _, name := range outputTopics() {
		topics = append(topics, prefix+name)
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	require.NoError(t, err)
	r := &reader{results: map[string][]result{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c.PollFetches(ctx).EachRecord(func(k *kgo.Record) { r.add(t, strings.TrimPrefix(k.Topic, prefix), k) })
		}
	}()
	t.Cleanup(func() { cancel(); <-done; c.Close() })
	return r
}

func (r *reader) add(t *testing.T, topic string, k *kgo.Record) {
	key, value, err := outputs[topic].decode(k.Key, k.Value)
	if err != nil {
		t.Errorf("%s: %v", topic, err)
		return
	}
	if isClosing(key) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[topic] = append(r.results[topic], result{key, value, k.Timestamp.UnixMilli(), fmt.Sprintf("%d-%d", k.Partition, k.Offset)})
}

// count returns how many results there are.
func (r *reader) count() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.results {
		n += len(x)
	}
	return n
}

func (r *reader) of(topic string) []result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.results[topic])
}

// rows returns the last result of each key, tombstones left out.
func rows(rs []result) map[string]result {
	out := map[string]result{}
	for _, r := range rs {
		out[r.key] = r
	}
	maps.DeleteFunc(out, func(_ string, r result) bool { return r.value == none })
	return out
}

// texts returns results as they are compared, sorted.
func (o output) texts(rs []result) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = r.text(o)
	}
	slices.Sort(out)
	return out
}

// difference returns what is in a and not in b, both sorted, each as often as it is there.
func difference(a, b []string) (out []string) {
	for len(a) > 0 {
		switch {
		case len(b) == 0 || a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		default:
			b = b[1:]
		}
	}
	return out
}
