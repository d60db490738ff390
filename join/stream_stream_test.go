package join_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

var others = stream.NewTopic("others", serde.String, serde.String)

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func around(before, after, grace int64) window.Join {
	return window.Within(0).Before(ms(before)).After(ms(after)).Grace(ms(grace))
}

func pair(l, r string) string { return l + "+" + r }

func pairOrLeft(l, r string, ok bool) string {
	if !ok {
		r = "none"
	}
	return l + "+" + r
}

func pairOrOne(l, r join.Maybe[string]) string { return l.Or("none") + "+" + r.Or("none") }

type streamStream func(l, r kstream, opts ...store.Option) kstream

func innerOf(w window.Join) streamStream {
	return func(l, r kstream, opts ...store.Option) kstream {
		return join.StreamStream(l, r, w, "j", pair, opts...)
	}
}

func leftOf(w window.Join) streamStream {
	return func(l, r kstream, opts ...store.Option) kstream {
		return join.StreamStreamLeft(l, r, w, "j", pairOrLeft, opts...)
	}
}

func outerOf(w window.Join) streamStream {
	return func(l, r kstream, opts ...store.Option) kstream {
		return join.StreamStreamOuter(l, r, w, "j", pairOrOne, opts...)
	}
}

// two is a driver of a join of the topics left and others.
func two(t *testing.T, j streamStream, opts ...testdriver.Option) *testdriver.Driver {
	t.Helper()
	return drive(t, func(b *stream.Builder) { stream.To(j(stream.From(b, left), stream.From(b, others)), joined) }, opts...)
}

func TestStreamStream(t *testing.T) {
	for _, tt := range []struct {
		name    string
		join    streamStream
		steps   string
		want    string
		dropped map[string]int
	}{
		{"partners by time, then as they came; the greater time; headers of the second", innerOf(around(10, 10, 0)),
			"left a=1@10, left a=2@5, left a=3@10, left b=4@10, others a=x@7, left a=5@17, left a=6@18",
			"a=2+x@7 others, a=1+x@10 others, a=3+x@10 others, a=5+x@17 left", nil},
		{"both edges of the window belong to it", innerOf(around(2, 3, 20)),
			"left a=1@10, others a=v@7, others a=w@8, others a=x@13, others a=y@14", "a=1+w@10 others, a=1+x@13 others", nil},
		{"no key, no value", innerOf(around(1, 1, 0)), "left =1@1, left a@1, left @1, others =x@1, others a@1, left a=2@1, others a=y@1", "a=2+y@1 others",
			map[string]int{"record without key": 3, "record without value": 2}},
		{"a left join wants left records without a key", leftOf(around(1, 1, 0)), "left =1@1, left a@1, left @1, others =x@1, others a@1", "=1+none@1 left",
			map[string]int{"record without key": 2, "record without value": 2}},
		{"an outer join those of both sides", outerOf(around(1, 1, 0)), "left =1@1, left @1, others =x@1, others @1", "=1+none@1 left, =none+x@1 others",
			map[string]int{"record without key": 2}},
		{"a record without a key moves stream time", leftOf(around(10, 10, 0)), "left a=1@1, left =2@50, others b=x@20, left c=3@50",
			"=2+none@50 left, a=1+none@1 left", nil},
		{"a left record waits until its window and the grace have passed", leftOf(around(10, 10, 5)),
			"left a=1@10, left b=2@25, others c=x@26, left d=3@26", "a=1+none@10 others", nil},
		{"what is due comes before the record's own partners, with its headers", outerOf(around(10, 10, 0)),
			"left b=1@0, others a=x@15, left b=2@1, left a=3@16", "b=1+none@0 others, b=2+none@1 left, a=3+x@16 left", nil},
		{"by time, then right before left, then by key", outerOf(around(10, 10, 0)),
			"left b=1@3, left a=2@3, others z=x@3, left b=3@3, left c=4@2, others q=y@20",
			"c=4+none@2 others, z=none+x@3 others, a=2+none@3 others, b=1+none@3 others, b=3+none@3 others", nil},
		{"a partner ends the waiting of all of one key and time", leftOf(around(10, 10, 0)),
			"left a=1@0, left a=2@0, left a=3@1, others a=x@10, left z=4@30", "a=1+x@10 others, a=2+x@10 others, a=3+x@10 others", nil},
		{"each is due at its own time, which Kafka Streams forgets", leftOf(around(10, 10, 0)),
			"left a=0@0, left b=3@3, left c=6@6, left d=11@11, left e=14@14, left f=17@17",
			"a=0+none@0 left, b=3+none@3 left, c=6+none@6 left", nil},
		{"whichever side the record is on that moves stream time", outerOf(around(2, 20, 0)),
			"others a=x@10, left b=1@13, others c=y@20, left d=2@34", "a=none+x@10 left, b=1+none@13 left, c=none+y@20 left", nil},
		{"a record behind its window is not held by the grace", leftOf(around(10, 10, 5)), "left a=1@20, left b=2@9, others b=x@12",
			"b=2+none@9 left, b=2+x@12 others", nil},
		{"a late record meets what is there still", innerOf(around(0, 10, 5)), "left a=1@10, others a=x@100, others a=y@15, left a=2@15",
			"a=1+y@15 others", map[string]int{"record joined, but too late to be kept for later partners": 1}},
		{"what is too old to be kept is counted", innerOf(around(0, 10, 5)), "left a=1@100, left b=2@84, left b=3@85, others b=x@85",
			"b=3+x@85 others", map[string]int{"record joined, but too late to be kept for later partners": 1}},
		{"an empty window without grace", innerOf(around(0, 0, 0)), "left a=1@5, others a=x@5, others a=y@6, left a=2@6", "a=1+x@5 others, a=2+y@6 left", nil},
		{"the edge of a window that is still open", innerOf(around(10, 10, 0)), "left a=1@20, others a=x@10, others a=y@30, left a=2@20",
			"a=1+x@20 others, a=1+y@30 others, a=2+x@20 left, a=2+y@30 left", nil},
		{"right must come later", innerOf(around(-5, 10, 10)), "left a=1@0, others a=x@3, others a=y@5, others a=z@10, left a=2@4", "a=1+y@5 others, a=1+z@10 others, a=2+z@10 left", nil},
		{"right must have come earlier", leftOf(around(10, -5, 0)), "others a=x@0, left a=1@5, left a=2@4, left a=3@10, left b=4@11", "a=1+x@5 left, a=2+none@4 left, a=3+x@10 left, b=4+none@11 left", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, opts := range [][]store.Option{nil, {store.InMemory(), store.NoChangelog()}} {
				d := two(t, func(l, r kstream, _ ...store.Option) kstream { return tt.join(l, r, opts...) })
				send(d, strings.Split(tt.steps, ", ")...)
				assert.Equal(t, tt.want, taken(d))
				if len(tt.dropped) > 0 {
					assert.Equal(t, tt.dropped, d.Dropped())
				} else {
					assert.Empty(t, d.Dropped())
				}
			}
		})
	}
}

func TestStreamStream_StoresSurviveARestart(t *testing.T) {
	d := two(t, outerOf(around(10, 10, 0)), testdriver.Partitions(3))
	send(d, "left a=1@0", "others b=x@2", "left a=2@0")
	d.Restart()
	send(d, "others a=y@5")
	assert.Equal(t, "a=1+y@5 others, a=2+y@5 others", taken(d))
	send(d, "left b=3@30")
	d.Restart()
	send(d, "others b=z@12") // behind stream time, which is 30 in the partition of b: nothing is due by it, and it does not wait
	assert.Equal(t, "b=none+x@2 left, b=none+z@12 others", taken(d))
}

func TestStreamStream_ChangedKeysAreRepartitioned(t *testing.T) {
	first := func(s kstream) kstream {
		return stream.MapRecords(s, func(r stream.Record[string, string]) stream.Record[string, string] {
			if r.Tombstone || r.Value == "" {
				return r.Keyless()
			}
			return stream.WithKey(r, r.Value[:1])
		})
	}
	rekeyed := func(j streamStream) streamStream {
		return func(l, r kstream, opts ...store.Option) kstream { return j(first(l), first(r), opts...) }
	}
	steps := []string{"left k=ab@1", "others k=ac@2", "left k=@3", "others k=@3"}
	d := two(t, rekeyed(innerOf(around(10, 10, 0))), testdriver.Partitions(3))
	send(d, steps...)
	assert.Equal(t, "a=ab+ac@2 others", taken(d))
	assert.Subset(t, d.Topics(), []string{"testdriver-j-left-repartition", "testdriver-j-right-repartition"})
	assert.Equal(t, map[string]int{"record without key not sent to a repartition topic": 2}, d.Dropped())

	d = two(t, rekeyed(leftOf(around(10, 10, 0))), testdriver.Partitions(3))
	send(d, steps...)
	assert.Equal(t, "a=ab+ac@2 others, =+none@3 left", taken(d))
	assert.Equal(t, map[string]int{"record without key": 1}, d.Dropped())
}

func TestStreamStream_SelfJoin(t *testing.T) {
	self := func(w window.Join, opts ...store.Option) func(b *stream.Builder) {
		return func(b *stream.Builder) {
			s := stream.From(b, left)
			stream.To(join.StreamStream(s, s, w, "j", pair, opts...), joined)
		}
	}
	steps := []string{"left a=1@5", "left a=2@3", "left b=3@4", "left a=4@5", "left a@6", "left a=5@100", "left a=6@5"}
	want := "a=1+1@5 left, a=2+1@5 left, a=2+2@3 left, a=1+2@5 left, b=3+3@4 left, " +
		"a=4+2@5 left, a=4+1@5 left, a=2+4@5 left, a=1+4@5 left, a=4+4@5 left, a=5+5@100 left"
	for _, tt := range []struct {
		opts []store.Option
		none int
	}{{nil, 2}, {[]store.Option{store.Shared()}, 1}} {
		d := drive(t, self(around(2, 2, 50), tt.opts...))
		send(d, steps...)
		assert.Equal(t, want, taken(d))
		assert.Equal(t, tt.none, d.Dropped()["record without value"])
		assert.Equal(t, tt.none, d.Dropped()["record joined, but too late to be kept for later partners"])
	}
	for _, opts := range [][]store.Option{nil, {store.Shared()}} {
		d := drive(t, self(around(-1, 2, 0), opts...))
		send(d, "left a=1@1", "left a=2@2", "left a=3@1")
		assert.Equal(t, "a=1+2@2 left, a=3+2@2 left", taken(d), "no record is later than itself")
	}
}

func TestStreamStream_Stores(t *testing.T) {
	names := func(f func(b *stream.Builder)) (out []string) {
		b := stream.NewBuilder()
		f(b)
		top, err := b.Build()
		require.NoError(t, err)
		for _, s := range (*graph.Handle)(top).Graph().Stores {
			out = append(out, s.Name)
		}
		return out
	}
	w := around(2, 3, 4)
	program := func(j streamStream, opts ...store.Option) func(b *stream.Builder) {
		return func(b *stream.Builder) { stream.To(j(stream.From(b, left), stream.From(b, others), opts...), joined) }
	}
	assert.Equal(t, []string{"j-this-join-store", "j-other-join-store"}, names(program(innerOf(w))))
	assert.Equal(t, []string{"j-this-join-store", "j-outer-other-join-store", "j-left-shared-join-store"}, names(program(leftOf(w))))
	assert.Equal(t, []string{"s-outer-this-join-store", "s-outer-other-join-store", "s-outer-shared-join-store"}, names(program(outerOf(w), store.Name("s"))))

	b := stream.NewBuilder()
	program(leftOf(w), store.InMemory(), store.TopicConfig("a", "b"))(b)
	top, err := b.Build()
	require.NoError(t, err)
	assert.Equal(t, [][]string{{"left", "others"}}, (*graph.Handle)(top).Graph().CoPartitioned)
	for _, s := range (*graph.Handle)(top).Graph().Stores {
		assert.True(t, s.InMemory)
		assert.Equal(t, map[string]string{"a": "b"}, s.Config)
	}
	assert.Equal(t, ms(10), (*graph.Handle)(top).Graph().Stores[0].Retention, "before, after, grace, and the edge")
}

func TestStreamStream_Mistakes(t *testing.T) {
	on := func(w window.Join, opts ...store.Option) func(b *stream.Builder) {
		return func(b *stream.Builder) {
			join.StreamStream(stream.From(b, left), stream.From(b, others), w, "j", pair, opts...)
		}
	}
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"a window that ends before it starts", on(around(-11, 10, 0)), "ends before it starts"},
		{"a negative grace", on(around(1, 1, -1)), "must not be negative"},
		{"a zero window", on(window.Join{}), "its window is zero"},
		{"a part of a millisecond", on(window.Within(time.Microsecond)), "not a whole number of milliseconds"},
		{"an option of tables", on(around(1, 1, 0), store.OnDemand()), "store.OnDemand does not apply here"},
		{"one store for two streams", on(around(1, 1, 0), store.Shared()), "join.StreamStream of a stream with itself"},
		{"one store for an outer join", func(b *stream.Builder) {
			s := stream.From(b, left)
			join.StreamStreamLeft(s, s, around(1, 1, 0), "j", pairOrLeft, store.Shared())
		}, "join.StreamStream of a stream with itself"},
		{"two names", on(around(1, 1, 0), store.Name("a"), store.Name("b")), "given twice"},
		{"an empty name", on(around(1, 1, 0), store.Name("")), "has no name"},
		{"a name that is none", on(around(1, 1, 0), store.Name("a b")), `has ' ' in it`},
		{"no name", func(b *stream.Builder) {
			join.StreamStream(stream.From(b, left), stream.From(b, others), around(1, 1, 0), "", pair)
		}, "its name is empty"},
		{"no function", func(b *stream.Builder) {
			join.StreamStreamOuter[string, string, string, string](stream.From(b, left), stream.From(b, others), around(1, 1, 0), "j", nil)
		}, "its function is nil"},
		{"a zero stream", func(b *stream.Builder) {
			join.StreamStreamLeft(stream.From(b, left), kstream{}, around(1, 1, 0), "j", pairOrLeft)
		}, "zero handle"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "stream_stream_test.go:")
		})
	}
}

func TestMiddleware_SeesTheRecordsOfBothSidesOfAJoin(t *testing.T) {
	seen := map[string][]string{}
	b := stream.NewBuilder(stream.Middleware(func(step topology.Node, _ string) topology.Around {
		return func(r topology.Passing, next func() error) error {
			v, _ := r.Value()
			seen[step.Name] = append(seen[step.Name], fmt.Sprint(v))
			return next()
		}
	}))
	stream.To(innerOf(around(1, 1, 0))(stream.From(b, left), stream.From(b, others)), joined).Named("end")
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	send(d, "left a=1@1", "others a=x@1")
	assert.Equal(t, []string{"1"}, seen["j-join-this"])
	assert.Equal(t, []string{"x"}, seen["j-join-other"])
	assert.Equal(t, []string{"1+x"}, seen["end"])
}

func TestStreamStream_PanicNamesTheJoin(t *testing.T) {
	for _, j := range []streamStream{
		func(l, r kstream, _ ...store.Option) kstream {
			return join.StreamStream(l, r, around(1, 1, 0), "culprit", func(_, _ string) string { panic("boom") })
		},
		func(l, r kstream, _ ...store.Option) kstream {
			return join.StreamStreamLeft(l, r, around(1, 1, 0), "culprit", func(_, _ string, ok bool) string { panic("boom") })
		},
	} {
		d := two(t, j)
		send(d, "left a=1@1")
		r := stream.Record[string, string]{Key: "a", Value: "x", Time: time.UnixMilli(2)}
		assert.ErrorContains(t, testdriver.Input(d, others).SendErr(r), `"culprit"`)
	}
}
