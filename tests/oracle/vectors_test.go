package oracle

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// vector is a timeline of tests/conformance: what Kafka Streams made of some input.
type vector struct {
	Topology, Timeline string
	Steps              []struct {
		In                 *message
		AdvanceWallClockMs int64
		Out                []message
	}
	DroppedRecords *int
}

type message struct {
	Topic      string
	Key, Value *string
	TS         int64
	Headers    [][2]*string
}

func maybe(s *string) text {
	if s == nil {
		return text{}
	}
	return some(*s)
}

// TestModels_AgreeWithKafkaStreams replays on the models what Kafka Streams did: a model that is wrong would find right operators wrong,
// or agree with wrong ones.
func TestModels_AgreeWithKafkaStreams(t *testing.T) {
	n := 0
	for topology, m := range modelled() {
		files, err := filepath.Glob(filepath.Join("..", "conformance", "testdata", "given", topology+".*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, files, "no vector of %s", topology)
		for _, f := range files {
			if t.Run(strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) { agree(t, m, f) }) {
				n++
			}
		}
	}
	t.Logf("%d timelines", n)
}

// agree compares keys, values and times of what is written. Headers are compared where the input has them.
func agree(t *testing.T, m model, file string) {
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var v vector
	require.NoError(t, json.Unmarshal(b, &v))
	var h history
	for _, s := range v.Steps {
		if s.In == nil {
			h.events = append(h.events, event{kind: advance, at: s.AdvanceWallClockMs})
			continue
		}
		h.events = append(h.events, event{topic: s.In.Topic, key: maybe(s.In.Key), value: maybe(s.In.Value), at: s.In.TS})
	}
	h.number()
	out := m(h.events)
	for i, s := range v.Steps {
		want := map[string][]string{}
		for _, r := range s.Out {
			want[r.Topic] = append(want[r.Topic], row{key: maybe(r.Key), value: maybe(r.Value), at: r.TS, from: -1}.String())
		}
		got := map[string][]string{}
		for _, r := range out[i] {
			if r.topic != dropped {
				headers(t, v, i, r)
				r.from = -1
				got[r.topic] = append(got[r.topic], r.String())
			}
		}
		require.Equal(t, want, got, "step %d: %v", i, h.events[i])
	}
}

// headers checks that a row's headers are those of the record that the model says.
func headers(t *testing.T, v vector, step int, r row) {
	var want [][2]*string
	if r.from >= 0 {
		want = v.Steps[r.from].In.Headers
	}
	for _, out := range v.Steps[step].Out {
		if out.Topic == r.topic && maybe(out.Key) == r.key && maybe(out.Value) == r.value && out.TS == r.at {
			assert.Equal(t, want, out.Headers, "headers of %v", r)
			return
		}
	}
}

// TestModels_SlidingWindowsByDefinition compares the model that replays what KIP-450 says with the definition of a sliding window, where no
// window closes.
func TestModels_SlidingWindowsByDefinition(t *testing.T) {
	base := *seed
	if base == 0 {
		base = rand.Uint64N(1 << 32)
	}
	t.Logf("-seed %d", base)
	w := countBy(slidingBy(10, 1<<40), "in")
	o := oracle{inputs: []input{{topic: "in", keys: abcd[:2], nulls: 5, noKeys: 5}}, scale: 10}
	for n := range uint64(*histories) {
		h := newHistory(o, rand.New(rand.NewPCG(base, n)))
		replayed, defined := written(w.table, "out")(h.events), written(w.slidingByDefinition, "out")(h.events)
		for i := range h.events {
			require.Equal(t, defined[i], replayed[i], "history %d, event %d\n%v", n, i, h)
		}
	}
}
