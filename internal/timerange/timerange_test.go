package timerange_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

var (
	in  = stream.NewTopic("in", serde.String, serde.String)
	in2 = stream.NewTopic("in2", serde.String, serde.String)
	out = stream.NewTopic("out", serde.String, serde.String)
)

const decades = 50 * 365 * 24 * time.Hour

func text[A any](k window.Key[string], _ A) (string, string) { return k.Key, "" }

func windowed(w window.Any, opts ...store.Option) func(b *stream.Builder) {
	return func(b *stream.Builder) {
		t := table.CountWindows(stream.GroupByKey(stream.From(b, in)), w, "n", opts...)
		stream.To(stream.Map(table.ToStream(t), text[int64]), out)
	}
}

func left(v, _ string, _ bool) string { return v }

// programs are all that computes with times, with durations as short and as long as they may be.
var programs = map[string]func(b *stream.Builder){
	"no state": func(b *stream.Builder) { stream.To(stream.From(b, in), out) },
	"a table":  func(b *stream.Builder) { stream.To(table.ToStream(table.From(b, in, "rows")), out) },
	"versions": func(b *stream.Builder) {
		stream.To(table.ToStream(table.From(b, in, "rows", store.Versions(4*decades))), out)
	},
	"tumbling":             windowed(window.Tumbling(10 * time.Second)),
	"tumbling, long":       windowed(window.Tumbling(decades).Grace(decades)),
	"tumbling, kept long":  windowed(window.Tumbling(time.Second), store.Retention(4*decades)),
	"hopping":              windowed(window.Hopping(10*time.Second, 5*time.Second)),
	"hopping, on close":    windowed(window.Hopping(10*time.Second, 5*time.Second).Grace(time.Second).OnClose()),
	"sliding":              windowed(window.Sliding(10 * time.Second)),
	"sliding, long":        windowed(window.Sliding(decades).Grace(decades)),
	"sliding, on close":    windowed(window.Sliding(10 * time.Second).OnClose()),
	"sessions":             windowed(window.Sessions(10 * time.Second)),
	"sessions, long":       windowed(window.Sessions(decades).Grace(decades)),
	"sessions, on close":   windowed(window.Sessions(10 * time.Second).OnClose()),
	"unlimited":            windowed(window.Unlimited(time.UnixMilli(0))),
	"unlimited, from late": windowed(window.Unlimited(topology.MaxTime())),
	"suppression": func(b *stream.Builder) {
		stream.To(table.ToStream(table.SuppressFor(table.From(b, in, "rows"), math.MaxInt64, "s", table.Unbounded())), out)
	},
	"suppression until windows close": func(b *stream.Builder) {
		t := table.CountWindows(stream.GroupByKey(stream.From(b, in)), window.Tumbling(time.Second).Grace(decades), "n")
		stream.To(stream.Map(table.ToStream(table.SuppressUntilClose(t, "s", table.Unbounded())), text[int64]), out)
	},
	"throttle": func(b *stream.Builder) {
		stream.To(table.ToStream(table.Throttle(table.From(b, in, "rows"), 290*365*24*time.Hour, "s")), out)
	},
	"join of streams": func(b *stream.Builder) {
		stream.To(join.StreamStreamLeft(stream.From(b, in), stream.From(b, in2), window.Within(time.Second), "j", left), out)
	},
	"join of streams, long": func(b *stream.Builder) {
		stream.To(join.StreamStreamLeft(stream.From(b, in), stream.From(b, in2), window.Within(decades).Grace(decades), "j", left), out)
	},
	"join with grace": func(b *stream.Builder) {
		t := table.From(b, in2, "t", store.Versions(4*decades))
		stream.To(join.StreamTableLeft(stream.From(b, in), t, "j", left, join.Grace(decades)), out)
	},
	"punctuation": func(b *stream.Builder) {
		stream.To(stream.Process(stream.From(b, in), "p", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
			for _, d := range []time.Duration{time.Millisecond, math.MaxInt64} {
				c.EveryStreamTime(d, func(time.Time) error { return nil })
				c.EveryWallClock(d, func(time.Time) error { return nil })
			}
			return func(r stream.Record[string, string]) error { c.Forward(r); return nil }, nil
		}), out)
	},
}

// drive runs a program in a goroutine of its own: a loop without an end cannot be ended from outside.
func drive(t *testing.T, build func(*stream.Builder), f func(d *testdriver.Driver) error) {
	b := stream.NewBuilder()
	build(b)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(open{t}, top, testdriver.OnDecodeError(failure.Skip()))
	done := make(chan error, 1)
	go func() { done <- f(d) }()
	select {
	case err := <-done:
		require.NoError(t, err)
		d.Close()
	case <-time.After(4 * time.Minute): // of a machine that may be busy; below the limit of go test
		t.Fatal("the record is still being processed")
	}
}

// open leaves the driver open where the test does not get to its end.
type open struct{ *testing.T }

func (open) Cleanup(func()) {}

func TestTimerange_DecodePolicy(t *testing.T) {
	for name, build := range programs {
		t.Run(name, func(t *testing.T) {
			drive(t, build, func(d *testdriver.Driver) error {
				send := testdriver.Input(d, in)
				for _, ms := range []int64{math.MaxInt64, math.MaxInt64 - 1, math.MaxInt64 / 2, topology.MaxTime().UnixMilli() + 1, -1, math.MinInt64} {
					before := len(d.Failures())
					if err := send.SendErr(stream.Record[string, string]{Key: "k", Value: "v", Time: time.UnixMilli(ms)}); err != nil {
						return err
					}
					if len(d.Failures()) != before+1 {
						return fmt.Errorf("a record at %d is no failure", ms)
					}
				}
				return send.SendErr(stream.Record[string, string]{Key: "k", Value: "v", Time: time.UnixMilli(1_600_000_000_000)})
			})
		})
	}
}

// Every time in the range is a time like others, and so is what follows from it by adding and taking away durations.
func TestTimerange_BothEnds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	end := topology.MaxTime().UnixMilli()
	for name, build := range programs {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			drive(t, build, func(d *testdriver.Driver) error {
				times := []int64{0, 1, 9_999, 10_000, end, end - 1, end - 10_000, 9_223_372_036_854, 9_223_372_036_855, end / 2}
				for range 20 {
					times = append(times, rnd.Int64N(end+1))
				}
				rnd.Shuffle(len(times), func(i, j int) { times[i], times[j] = times[j], times[i] })
				for i, ms := range times {
					r := stream.Record[string, string]{Key: "k", Value: "v", Time: time.UnixMilli(ms)}
					if err := testdriver.Input(d, in).SendErr(r); err != nil {
						return err
					}
					if i == len(times)/2 {
						d.Restart()
					}
				}
				if n := len(d.Failures()); n > 0 {
					return fmt.Errorf("%d failures, the first: %w", n, d.Failures()[0].Err)
				}
				return nil
			})
		})
	}
}

// What a store's user writes with a time of its own is refused by the store, not by a broker later on.
func TestTimerange_StoresRefuse(t *testing.T) {
	late := topology.MaxTime().Add(time.Millisecond)
	w := store.NewWindow("w", serde.String, serde.String, time.Second, time.Hour)
	s := store.NewSession("s", serde.String, serde.String, time.Hour)
	v := store.NewVersioned("v", serde.String, serde.String, time.Hour)
	r := store.NewTimestamped("r", serde.String, serde.String)
	b := stream.NewBuilder()
	stream.Process(stream.From(b, in), "p", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		w, s, v, r := w.In(c), s.In(c), v.In(c), r.In(c)
		return func(x stream.Record[string, string]) error {
			switch x.Value {
			case "window":
				return w.Put("k", late, "v")
			case "session":
				return s.Put("k", x.Time, late, "v")
			case "version":
				_, _, err := v.Put("k", "v", late)
				return err
			case "deletion":
				_, _, err := v.Delete("k", late)
				return err
			}
			return r.Put("k", store.Timestamped[string]{Value: "v", Time: late})
		}, nil
	}, w, s, v, r)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.OnProcessError(failure.Skip()))
	testdriver.Input(d, in).SendValues("window", "session", "version", "deletion", "row")
	require.Len(t, d.Failures(), 5)
	for _, f := range d.Failures() {
		assert.ErrorContains(t, f.Err, "10000-01-01T00:00:00Z")
	}
}
