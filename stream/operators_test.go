package stream_test

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

type (
	strs = stream.KStream[string, string]
	rec  = stream.Record[string, string]
)

func TestOperators_Stateless(t *testing.T) {
	records := []string{"a=one two", "b", "-=x", "c="}
	noNewKey := map[string]int{graph.NoNewKey: 1}
	first := func(_, v string) string { return v[:min(1, len(v))] }
	for _, c := range []struct {
		name    string
		f       func(strs) strs
		want    []string
		dropped map[string]int
	}{
		{
			name: "Filter passes tombstones and shows the zero key where there is none",
			f:    func(s strs) strs { return stream.Filter(s, func(k, v string) bool { return k == "" }) },
			want: []string{"b@2", "-=x@3"},
		},
		{
			name: "FilterNot passes tombstones",
			f:    func(s strs) strs { return stream.FilterNot(s, func(k, v string) bool { return v == "x" }) },
			want: []string{"a=one two@1", "b@2", "c=@4"},
		},
		{
			name: "FilterRecords sees all",
			f:    func(s strs) strs { return stream.FilterRecords(s, stream.HasValue[string, string]) },
			want: []string{"a=one two@1", "-=x@3", "c=@4"},
		},
		{
			name: "MapValues leaves tombstones and missing keys",
			f:    func(s strs) strs { return stream.MapValues(s, strings.ToUpper) },
			want: []string{"a=ONE TWO@1", "b@2", "-=X@3", "c=@4"},
		},
		{
			name: "MapValuesWithKey sees the zero key where there is none",
			f: func(s strs) strs {
				return stream.MapValuesWithKey(s, func(k, v string) string { return k + ":" + v })
			},
			want: []string{"a=a:one two@1", "b@2", "-=:x@3", "c=c:@4"},
		},
		{
			name:    "Map drops tombstones and counts them, and gives a key to records without one",
			f:       func(s strs) strs { return stream.Map(s, func(k, v string) (string, string) { return v, k }) },
			want:    []string{"one two=a@1", "x=@3", "=c@4"},
			dropped: noNewKey,
		},
		{
			name:    "SelectKey does as Map",
			f:       func(s strs) strs { return stream.SelectKey(s, first) },
			want:    []string{"o=one two@1", "x=x@3", "=@4"},
			dropped: noNewKey,
		},
		{
			name: "MapKeys keeps tombstones and missing keys",
			f:    func(s strs) strs { return stream.MapKeys(s, strings.ToUpper) },
			want: []string{"A=one two@1", "B@2", "-=x@3", "C=@4"},
		},
		{
			name: "MapRecords may make a tombstone, take the key away, add a header and leave the time out",
			f: func(s strs) strs {
				return stream.MapRecords(s, func(r rec) rec {
					switch {
					case r.Tombstone:
						return stream.WithValue(r, "was none").With("h", []byte("1"))
					case r.NoKey:
						return rec{Key: "new", Value: "afresh"}
					case r.Value == "":
						return rec{Key: "left", Value: "over", NoKey: true, Tombstone: true, Time: time.UnixMicro(9999)}
					}
					return r.Keyless()
				})
			},
			want: []string{"-=one two@1", "b=was none@2 h:1", "new=afresh@3", "-@9"},
		},
		{
			name: "MapRecordValues sees tombstones and may make one",
			f: func(s strs) strs {
				return stream.MapRecordValues(s, func(r rec) (string, bool) { return "v", r.Tombstone || r.NoKey })
			},
			want: []string{"a@1", "b=v@2", "-=v@3", "c@4"},
		},
		{
			name: "FlatMap drops tombstones",
			f: func(s strs) strs {
				return stream.FlatMap(s, func(k, v string) iter.Seq2[string, string] {
					return func(yield func(string, string) bool) {
						for w := range strings.FieldsSeq(v) {
							if !yield(w, k) {
								return
							}
						}
					}
				})
			},
			want:    []string{"one=a@1", "two=a@1", "x=@3"},
			dropped: noNewKey,
		},
		{
			name: "FlatMapValues passes tombstones",
			f:    func(s strs) strs { return stream.FlatMapValues(s, strings.FieldsSeq) },
			want: []string{"a=one@1", "a=two@1", "b@2", "-=x@3"},
		},
		{
			name: "FlatMapRecords sees all and may make all; nil is an empty sequence",
			f: func(s strs) strs {
				return stream.FlatMapRecords(s, func(r rec) iter.Seq[rec] {
					if r.Value == "" && !r.Tombstone {
						return nil
					}
					return slices.Values([]rec{r, {Key: "new"}, r.Deleted().At(time.UnixMilli(7))})
				})
			},
			want: []string{"a=one two@1", "new=@1", "a@7", "b@2", "new=@2", "b@7", "-=x@3", "new=@3", "-@7"},
		},
		{
			name: "FlatMapRecordValues sees tombstones and may make one",
			f: func(s strs) strs {
				return stream.FlatMapRecordValues(s, func(r rec) iter.Seq2[string, bool] {
					return func(yield func(string, bool) bool) { _ = yield("v", !r.Tombstone) && yield("w", true) }
				})
			},
			want: []string{"a=v@1", "a=w@1", "b@2", "b=w@2", "-=v@3", "-=w@3", "c=v@4", "c=w@4"},
		},
		{
			name: "AssumePartitioned and Peek change nothing",
			f:    func(s strs) strs { return stream.Peek(stream.AssumePartitioned(s), func(rec) {}) },
			want: []string{"a=one two@1", "b@2", "-=x@3", "c=@4"},
		},
		{
			name:    "Repartition drops records without a key and counts them",
			f:       func(s strs) strs { return stream.Repartition(s, "rp", stream.Partitions(3)) },
			want:    []string{"a=one two@1", "b@2", "c=@4"},
			dropped: map[string]int{graph.NoRepartition: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := run(t, c.f, records...)
			assert.Equal(t, c.want, x.out)
			if c.dropped == nil {
				c.dropped = map[string]int{}
			}
			assert.Equal(t, c.dropped, maps.Collect(maps.All(x.dropped)))
		})
	}
}

func TestOperators_ChildrenRunDepthFirst(t *testing.T) {
	add := func(s strs, suffix string) strs {
		return stream.MapValues(s, func(v string) string { return v + suffix })
	}
	x := run(t, func(s strs) strs {
		one, two := add(s, "1"), add(s, "2")
		return stream.Merge(one, add(two, "a"), add(two, "b"), add(stream.Peek(s, func(rec) {}), "3"))
	}, "k=v")
	assert.Equal(t, []string{"k=v1@1", "k=v2a@1", "k=v2b@1", "k=v3@1"}, x.out)
}

func TestBranchAndSplit(t *testing.T) {
	starts := func(p string) func(rec) bool { return func(r rec) bool { return strings.HasPrefix(r.Value, p) } }
	say := func(s strs, what string) strs {
		return stream.MapValues(s, func(v string) string { return what + " " + v })
	}
	x := run(t, func(s strs) strs {
		yes, no := stream.Branch(s, starts("a"))
		of, rest := stream.Split(no, starts("b"), starts("bc"))
		return stream.Merge(say(yes, "yes"), say(of[0].Named("b"), "first"), say(of[1], "second"), say(rest, "rest"))
	}, "k=a", "k=bc", "k=d", "k")
	assert.Equal(t, []string{"k=yes a@1", "k=first bc@2", "k=rest d@3", "k@4"}, x.out)
	assert.Empty(t, x.dropped)
}

func TestSplit_UnmatchedRecordsAreCountedWhereTheRestIsUnused(t *testing.T) {
	x := run(t, func(s strs) strs {
		of, _ := stream.Split(s, func(r rec) bool { return r.Value == "a" })
		return of[0]
	}, "k=a", "k=b")
	assert.Equal(t, []string{"k=a@1"}, x.out)
	assert.Equal(t, map[string]int{graph.NoBranch: 1}, x.dropped)
}

func TestFrom_TopicWithoutKeys(t *testing.T) {
	events := stream.NewTopic("events", serde.None, serde.String)
	var got []string
	top := build(t, func(b *stream.Builder) {
		kept := stream.Filter(stream.From(b, events), func(_ serde.Void, v string) bool { return v != "no" })
		stream.ForEach(stream.SelectKey(kept, func(_ serde.Void, v string) string { return v[:1] }), func(r rec) { got = append(got, render(r)) })
	})
	d := testdriver.New(t, top)
	testdriver.Input(d, events).At(time.UnixMilli(5)).SendValue("yes")
	testdriver.Input(d, events).SendValue("no")
	assert.Equal(t, []string{"y=yes@5"}, got)
}

func TestFrom_SeveralTopicsAndPatterns(t *testing.T) {
	p := stream.NewPattern("p-.*", serde.String, serde.String)
	top := build(t, func(b *stream.Builder) {
		stream.To(stream.MapValues(stream.From(b, text("in2"), text("in1")), func(v string) string { return "m:" + v }), text("out"))
		stream.To(stream.MapRecordValues(stream.FromPattern(b, p), func(r rec) (string, bool) { return r.Source().Topic + ":" + r.Value, true }), text("out"))
		stream.ToFunc(stream.From(b, text("in1"), text("in2")), text(""), func(r rec) string { return "copy-" + r.Source().Topic })
	})
	d := testdriver.New(t, top)
	for _, topic := range []string{"in1", "p-1", "in2", "p-two"} {
		testdriver.Input(d, p.Topic(topic)).Send("k", topic)
	}
	var got []string
	for _, r := range testdriver.Output(d, text("out")).Read() {
		got = append(got, r.Value)
	}
	assert.Equal(t, []string{"m:in1", "p-1:p-1", "m:in2", "p-two:p-two"}, got)
	assert.Len(t, d.Raw("copy-in1"), 1)
	assert.Len(t, d.Raw("copy-in2"), 1)
	require.Len(t, (*graph.Handle)(top).Graph().Subtopologies, 2)
}

func TestFrom_SameTopicsHaveOneSource(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		for _, digit := range []string{"1", "2"} {
			stream.To(stream.MapValues(stream.From(b, in), func(v string) string { return v + digit }), text("out"))
		}
	})
	assert.Len(t, (*graph.Handle)(top).Graph().Nodes, 5)
	d := testdriver.New(t, top)
	testdriver.Input(d, in).Send("k", "v")
	got := testdriver.Output(d, text("out")).Read()
	require.Len(t, got, 2)
	assert.Equal(t, "v1", got[0].Value)
	assert.Equal(t, "v2", got[1].Value)
}

func TestToFunc_RefusesIllegalTopicNames(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		stream.ToFunc(stream.From(b, in), text(""), func(r rec) string { return r.Value })
	})
	d := testdriver.New(t, top)
	require.ErrorContains(t, testdriver.Input(d, in).SendErr(record("k=no good")), `name "no good" has ' ' in it`)
}

func TestTo_RefusesTimesBefore1970(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		stream.To(stream.MapRecords(stream.From(b, in), func(r rec) rec { return r.At(time.UnixMilli(-1)) }), text("out"))
	})
	d := testdriver.New(t, top)
	require.ErrorContains(t, testdriver.Input(d, in).SendErr(record("k=v")), "records have times from 1970")
}

func TestRepartitionBy_ChoosesThePartition(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		by := stream.RepartitionBy(stream.From(b, in), "rp", func(r rec, n int) int { return len(r.Key) % n }, stream.Partitions(3))
		stream.ForEach(by, func(rec) {})
	})
	d := testdriver.New(t, top)
	for _, k := range []string{"", "a", "ab", "abc"} {
		testdriver.Input(d, in).Send(k, "v")
	}
	var got []int32
	for _, r := range d.Raw("testdriver-rp-repartition") {
		got = append(got, r.Partition)
	}
	assert.Equal(t, []int32{0, 1, 2, 0}, got)
	assert.Equal(t, 3, (*graph.Handle)(top).Graph().Topics[0].Partitions)
}
