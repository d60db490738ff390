package join_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// byEnd partitions by the end of the key, byStart by its beginning: neither is the hash of the key.
func byEnd(r stream.Record[string, string], n int) int   { return int(r.Key[len(r.Key)-1]) % n }
func byStart(r stream.Record[string, string], n int) int { return int(r.Key[0]) % n }

var (
	events   = stream.NewTopic("events", serde.String, serde.String)
	more     = stream.NewTopic("more", serde.String, serde.String)
	atEnd    = stream.NewTopic("at-end", serde.String, serde.String).Partitioner(byEnd)
	alsoEnd  = stream.NewTopic("also-end", serde.String, serde.String).Partitioner(byEnd)
	likeEnd  = stream.PartitionedLike(stream.NewTopic("like-end", serde.String, serde.Int64), atEnd)
	atStart  = stream.NewTopic("at-start", serde.String, serde.String).Partitioner(byStart)
	ofOthers = stream.NewTopic("of-others", serde.String, serde.String)
)

func same2(a, b string) string { return a + "+" + b }

func outer2(a, b join.Maybe[string]) string { return fmt.Sprint(a, "+", b) }

func maybe2(a, b string, ok bool) string { return fmt.Sprint(a, "+", b, ok) }

func rekeyed(b *stream.Builder, t stream.Topic[string, string]) kstream {
	return stream.SelectKey(stream.From(b, t), func(_, v string) string { return v })
}

func totals(s kstream, name string) ktable {
	return table.Reduce(stream.GroupByKey(s), name, func(a, b string) string { return max(a, b) })
}

func refers(_ string, v string) (string, bool) { return v, v != "" }

// meets are programs with inputs that meet by key: what they give must not depend on how many
// partitions there are.
var meets = map[string]func(b *stream.Builder) any{
	"stream and table": func(b *stream.Builder) any {
		return join.StreamTable(rekeyed(b, events), table.From(b, atEnd, "t"), "j", same2)
	},
	"stream and table, left": func(b *stream.Builder) any {
		return join.StreamTableLeft(rekeyed(b, events), table.From(b, atEnd, "t"), "j", maybe2)
	},
	"stream and table behind a filter": func(b *stream.Builder) any {
		rows := table.Filter(table.From(b, atEnd, "t"), func(k, _ string) bool { return k != "a3" })
		return join.StreamTable(rekeyed(b, events), rows, "j", same2)
	},
	"two streams": func(b *stream.Builder) any {
		return join.StreamStream(rekeyed(b, events), stream.From(b, atEnd), window.Within(time.Hour), "j", same2)
	},
	"two streams, outer, the right one of new keys": func(b *stream.Builder) any {
		return join.StreamStreamOuter(stream.From(b, atEnd), rekeyed(b, events), window.Within(time.Hour), "j", outer2)
	},
	"two streams of one partitioner": func(b *stream.Builder) any {
		return join.StreamStream(stream.From(b, atEnd), stream.From(b, alsoEnd), window.Within(time.Hour), "j", same2)
	},
	"stream and table of topics that are partitioned alike": func(b *stream.Builder) any {
		return join.StreamTable(stream.From(b, atEnd), table.From(b, likeEnd, "t"), "j", func(a string, n int64) string { return fmt.Sprint(a, n) })
	},
	"two tables": func(b *stream.Builder) any {
		return join.TableTable(table.From(b, atEnd, "l"), table.ToTable(rekeyed(b, events), "r"), same2)
	},
	"an aggregation of new keys and a table": func(b *stream.Builder) any {
		return join.TableTableOuter(totals(rekeyed(b, events), "n"), table.From(b, atEnd, "t"), outer2)
	},
	"an aggregation that is used before the join": func(b *stream.Builder) any {
		n := totals(rekeyed(b, events), "n")
		stream.To(table.ToStream(n), ofOthers)
		return join.TableTableLeft(n, table.From(b, atEnd, "t"), maybe2)
	},
	"groups of rows and a table": func(b *stream.Builder) any {
		g := table.GroupBy(table.From(b, events, "e"), func(k, v string) (string, string, bool) { return v, k, true })
		n := table.CountRows(g, "n")
		return join.TableTable(n, table.From(b, atEnd, "t"), func(n int64, row string) string { return fmt.Sprint(n, row) })
	},
	"a cogroup": func(b *stream.Builder) any {
		add := func(_, v, all string) string { return max(v, all) }
		c := table.Cogroup(table.Add(stream.GroupByKey(rekeyed(b, events)), add), table.Add(stream.GroupByKey(stream.From(b, atEnd)), add))
		return table.AggregateCogroup(c, "c", func() string { return "" })
	},
	"a foreign key of a table of its own partitioner": func(b *stream.Builder) any {
		return join.ForeignKey(table.From(b, events, "l"), table.From(b, atEnd, "r"), "fk", refers, same2)
	},
	"a foreign key in a table of its own partitioner": func(b *stream.Builder) any {
		return join.ForeignKeyLeft(table.From(b, atEnd, "l"), table.From(b, events, "r"), "fk", refers, maybe2)
	},
	"a foreign key between two partitioners": func(b *stream.Builder) any {
		return join.ForeignKey(table.From(b, atStart, "l"), table.From(b, atEnd, "r"), "fk", refers, same2)
	},
	"the result of a foreign key and its left table": func(b *stream.Builder) any {
		l := table.From(b, atStart, "l")
		j := join.ForeignKey(l, table.From(b, atEnd, "r"), "fk", refers, same2)
		return join.TableTable(l, j, same2)
	},
	"a foreign key of an aggregation": func(b *stream.Builder) any {
		l := totals(rekeyed(b, events), "l")
		return join.ForeignKey(l, table.From(b, atEnd, "r"), "fk", refers, same2)
	},
	"uses of one change of keys that meet different topics": func(b *stream.Builder) any {
		s := rekeyed(b, events)
		j := join.StreamTable(s, table.From(b, atEnd, "t"), "j", same2)
		k := join.StreamTable(s, table.From(b, more, "u"), "k", same2)
		return stream.Merge(j, k)
	},
	"through a repartition topic": func(b *stream.Builder) any {
		return join.StreamTable(stream.Repartition(rekeyed(b, events), "rp"), table.From(b, atEnd, "t"), "j", same2)
	},
	"through a repartition topic by the same function": func(b *stream.Builder) any {
		return join.StreamTable(stream.RepartitionBy(rekeyed(b, events), "rp", byEnd), table.From(b, atEnd, "t"), "j", same2)
	},
	"through a repartition topic by an equal function": func(b *stream.Builder) any {
		equal := func(r stream.Record[string, string], n int) int { return byEnd(r, n) }
		return join.StreamTable(stream.RepartitionBy(rekeyed(b, events), "rp", equal), table.From(b, atEnd, "t"), "j", same2)
	},
	"two repartition topics by one function": func(b *stream.Builder) any {
		l, r := stream.RepartitionBy(stream.From(b, events), "x", byEnd), stream.RepartitionBy(stream.From(b, more), "y", byEnd)
		return join.StreamStream(l, r, window.Within(time.Hour), "j", same2)
	},
	"repartition topics of which one says how": func(b *stream.Builder) any {
		l, r := stream.RepartitionBy(stream.From(b, events), "x", byEnd), rekeyed(b, more)
		return join.StreamStream(l, r, window.Within(time.Hour), "j", same2)
	},
	"a table that the program writes itself": func(b *stream.Builder) any {
		stream.To(stream.From(b, more), atEnd)
		return join.StreamTable(rekeyed(b, events), table.From(b, stream.NewTopic(atEnd.Name(), serde.String, serde.String), "t"), "j", same2)
	},
	"topics of two partitioners, one through a repartition topic": func(b *stream.Builder) any {
		return join.StreamTable(stream.Repartition(stream.From(b, atStart), "rp"), table.From(b, atEnd, "t"), "j", same2)
	},
	"windows and a stream of windows": func(b *stream.Builder) any {
		w := window.Tumbling(time.Second)
		n := table.CountWindows(stream.GroupByKey(stream.From(b, events)), w, "w")
		s := stream.MapRecords(stream.From(b, more), func(r stream.Record[string, string]) stream.Record[window.Key[string], string] {
			return topology.WithKey(r, window.Key[string]{Key: r.Key, Start: time.UnixMilli(0), End: time.UnixMilli(1000)})
		}).WithSerdes(window.TimeKey(serde.String, w), nil)
		j := join.StreamTable(s, n, "j", func(v string, n int64) string { return fmt.Sprint(v, n) })
		return stream.SelectKey(j, func(k window.Key[string], _ string) string { return k.Key })
	},
	"a foreign key of windows": func(b *stream.Builder) any {
		w := window.Tumbling(time.Second)
		n := table.CountWindows(stream.GroupByKey(stream.From(b, events)), w, "w")
		of := func(k, _ string) (window.Key[string], bool) {
			return window.Key[string]{Key: k, Start: time.UnixMilli(0), End: time.UnixMilli(1000)}, true
		}
		return join.ForeignKey(table.From(b, more, "l"), n, "fk", of, func(v string, n int64) string { return fmt.Sprint(v, n) })
	},
	"two processors with one store": func(b *stream.Builder) any {
		return stream.Merge(puts(stream.From(b, atEnd), shared), gets(stream.Repartition(rekeyed(b, events), "rp"), shared))
	},
	"a processor that reads a table": func(b *stream.Builder) any {
		return gets(stream.Repartition(rekeyed(b, events), "rp"), table.From(b, atEnd, "t").Store())
	},
	"a processor that reads an aggregation of new keys": func(b *stream.Builder) any {
		n := totals(rekeyed(b, events), "n")
		return stream.Merge(table.ToStream(n), gets(stream.From(b, atEnd), n.Store()))
	},
	"a store kept from a topic": func(b *stream.Builder) any {
		ref := store.NewKeyValue("limits", serde.String, serde.String)
		stream.ReadOnlyStore(b, atEnd, ref)
		s := stream.Repartition(rekeyed(b, events), "rp")
		return stream.ProcessValues(s, "p", func(c *stream.ValueContext[string]) (func(stream.Record[string, string]) error, error) {
			limits := ref.In(c)
			return func(r stream.Record[string, string]) error {
				v, ok, err := limits.Get(r.Key)
				if ok {
					c.Forward(r.Value + "<" + v)
				}
				return err
			}, nil
		}, ref)
	},
}

// puts has rows put in a store of a processor by the records of s, gets reads a store with those of s.
func puts(s kstream, ref store.KeyValueRef[string, string]) kstream {
	return stream.ProcessValues(s, "put", func(c *stream.ValueContext[string]) (func(stream.Record[string, string]) error, error) {
		rows := ref.In(c)
		return func(r stream.Record[string, string]) error { return rows.Put(r.Key, r.Value) }, nil
	}, ref)
}

func gets(s kstream, ref store.KeyValueRef[string, string]) kstream {
	return stream.ProcessValues(s, "get", func(c *stream.ValueContext[string]) (func(stream.Record[string, string]) error, error) {
		rows := ref.In(c)
		return func(r stream.Record[string, string]) error {
			v, ok, err := rows.Get(r.Key)
			c.Forward(fmt.Sprint(r.Value, "<", v, ok))
			return err
		}, nil
	}, ref)
}

var shared = store.NewKeyValue("shared", serde.String, serde.String)

func resultsOf(t *testing.T, program func(b *stream.Builder) any, partitions int, opts ...stream.BuilderOption) []string {
	t.Helper()
	b := stream.NewBuilder(opts...)
	switch out := program(b).(type) {
	case kstream:
		stream.To(out, joined)
	case ktable:
		stream.To(table.ToStream(out), joined)
	default:
		t.Fatalf("a program returned %T", out)
	}
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.Partitions(partitions), testdriver.StartAt(time.UnixMilli(0)))
	reads := func(topic string) bool {
		return slices.ContainsFunc((*graph.Handle)(top).Graph().Nodes, func(n *graph.Node) bool { return n.Source != nil && slices.Contains(n.Source.Topics, topic) })
	}
	for i := range 8 {
		k := fmt.Sprintf("%c%d", 'a'+i%3, i)
		for _, in := range []stream.Topic[string, string]{atEnd, alsoEnd, atStart, more} {
			if reads(in.Name()) {
				testdriver.Input(d, in).Send(k, k)
			}
		}
		if reads(likeEnd.Name()) {
			testdriver.Input(d, likeEnd).Send(k, int64(i))
		}
		if reads(events.Name()) {
			testdriver.Input(d, events).Send("device of "+k, k)
			testdriver.Input(d, events).Send(k, k)
		}
		for _, in := range []stream.Topic[string, string]{atEnd, more} {
			if reads(in.Name()) {
				testdriver.Input(d, in).Send(k, "row of "+k)
			}
		}
	}
	var all []string
	for _, r := range testdriver.Output(d, joined).Read() {
		all = append(all, fmt.Sprint(r.Key, "=", r.Value, r.Tombstone))
	}
	slices.Sort(all)
	return all
}

// TestPartitioner_TopicsThatMeetArePartitionedAlike runs programs whose inputs meet by key, some of
// them in topics with partitioners of their own.
func TestPartitioner_TopicsThatMeetArePartitionedAlike(t *testing.T) {
	for name, program := range meets {
		t.Run(name, func(t *testing.T) {
			want := resultsOf(t, program, 1)
			require.GreaterOrEqual(t, len(want), 8)
			assert.Equal(t, want, resultsOf(t, program, 5))
			assert.Equal(t, want, resultsOf(t, program, 5, stream.MergeRepartitions()), "with repartition topics merged")
		})
	}
}

// TestPartitioner_DifferentPartitionersAreRefused has programs in which the records of one key
// would lie in different tasks.
func TestPartitioner_DifferentPartitionersAreRefused(t *testing.T) {
	add := func(_, v, all string) string { return max(v, all) }
	for name, c := range map[string]struct {
		program func(b *stream.Builder)
		topics  []string
	}{
		"a stream and a table of two partitioners": {func(b *stream.Builder) {
			join.StreamTable(stream.From(b, atStart), table.From(b, atEnd, "t"), "j", same2)
		}, []string{"at-start", "at-end"}},
		"a stream by the hash and a table of its own partitioner": {func(b *stream.Builder) {
			join.StreamTableLeft(stream.From(b, events), table.From(b, atEnd, "t"), "j", maybe2)
		}, []string{"events", "at-end"}},
		"two tables": {func(b *stream.Builder) {
			join.TableTable(table.From(b, atEnd, "l"), table.From(b, more, "r"), same2)
		}, []string{"at-end", "more"}},
		"two streams": {func(b *stream.Builder) {
			join.StreamStream(stream.From(b, atEnd), stream.From(b, atStart), window.Within(time.Hour), "j", same2)
		}, []string{"at-end", "at-start"}},
		"a cogroup": {func(b *stream.Builder) {
			c := table.Cogroup(table.Add(stream.GroupByKey(stream.From(b, events)), add), table.Add(stream.GroupByKey(stream.From(b, atEnd)), add))
			table.AggregateCogroup(c, "c", func() string { return "" })
		}, []string{"events", "at-end"}},
		"a count of merged streams": {func(b *stream.Builder) {
			table.Count(stream.GroupByKey(stream.Merge(stream.From(b, events), stream.From(b, atEnd))), "n")
		}, []string{"events", "at-end"}},
		"a count of two topics": {func(b *stream.Builder) {
			table.Count(stream.GroupByKey(stream.From(b, atStart, atEnd)), "n")
		}, []string{"at-start", "at-end"}},
		"one change of keys that meets two partitioners in one grouping": {func(b *stream.Builder) {
			n := totals(rekeyed(b, events), "n")
			join.TableTable(n, table.From(b, atEnd, "t"), same2)
			join.TableTable(n, table.From(b, atStart, "u"), same2)
		}, []string{"at-start", "at-end"}},
		"a join of joins": {func(b *stream.Builder) {
			j := join.StreamTable(rekeyed(b, events), table.From(b, atEnd, "t"), "j", same2)
			join.StreamTable(j, table.From(b, more, "u"), "k", same2)
		}, []string{"at-end", "more"}},
		"the result of a foreign key and a table": {func(b *stream.Builder) {
			j := join.ForeignKey(table.From(b, atStart, "l"), table.From(b, atEnd, "r"), "fk", refers, same2)
			join.TableTable(j, table.From(b, more, "t"), same2)
		}, []string{"at-start", "more"}},
		"a repartition topic by a function, and a table by the hash": {func(b *stream.Builder) {
			join.StreamTable(stream.RepartitionBy(rekeyed(b, events), "rp", byEnd), table.From(b, more, "t"), "j", same2)
		}, []string{"rp-repartition", "more"}},
		"a table that the program writes otherwise": {func(b *stream.Builder) {
			stream.To(stream.From(b, more), stream.NewTopic(atEnd.Name(), serde.String, serde.String))
			join.StreamTable(rekeyed(b, events), table.From(b, atEnd, "t"), "j", same2)
		}, []string{"at-end"}},
		"windows of a topic of its own partitioner and a stream of windows": {func(b *stream.Builder) {
			w := window.Tumbling(time.Second)
			n := table.CountWindows(stream.GroupByKey(stream.From(b, atEnd)), w, "w")
			s := stream.SelectKey(stream.From(b, more), func(k, _ string) window.Key[string] { return window.Key[string]{Key: k} }).
				WithSerdes(window.TimeKey(serde.String, w), nil)
			join.StreamTable(s, n, "j", func(v string, n int64) string { return fmt.Sprint(v, n) })
		}, []string{"at-end"}},
		"two processors with one store": {func(b *stream.Builder) {
			puts(stream.From(b, atEnd), shared)
			gets(stream.From(b, events), shared)
		}, []string{"events", "at-end"}},
		"a processor that reads a table": {func(b *stream.Builder) {
			gets(stream.From(b, events), table.From(b, atEnd, "t").Store())
		}, []string{"events", "at-end"}},
		"a store kept from a topic": {func(b *stream.Builder) {
			ref := store.NewKeyValue("limits", serde.String, serde.String)
			stream.ReadOnlyStore(b, atEnd, ref)
			stream.ProcessValues(stream.From(b, events), "p", func(*stream.ValueContext[string]) (func(stream.Record[string, string]) error, error) {
				return func(stream.Record[string, string]) error { return nil }, nil
			}, ref)
		}, []string{"events", "at-end"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := stream.NewBuilder()
			c.program(b)
			_, err := b.Build()
			require.Error(t, err)
			assert.Len(t, err, 1, "each mistake is said once")
			for _, topic := range c.topics {
				assert.ErrorContains(t, err, fmt.Sprintf("%q", topic))
			}
			assert.ErrorContains(t, err, "stream.Repartition")
		})
	}
}

// TestPartitioner_AssumePartitionedIsTrusted joins topics of which only the program knows that they
// are partitioned alike.
func TestPartitioner_AssumePartitionedIsTrusted(t *testing.T) {
	drive(t, func(b *stream.Builder) {
		join.StreamTable(stream.AssumePartitioned(stream.From(b, events)), table.From(b, atEnd, "t"), "j", same2)
	})
}

// TestPartitioner_RepartitionByThatDisagreesFails writes a record to another partition than that of
// the row which it looks for.
func TestPartitioner_RepartitionByThatDisagreesFails(t *testing.T) {
	for name, by := range map[string]func(r stream.Record[string, string], n int) int{
		"another function":         func(r stream.Record[string, string], n int) int { return (byEnd(r, n) + 1) % n },
		"by more than the key":     func(r stream.Record[string, string], n int) int { return (len(r.Value) + byEnd(r, n)) % n },
		"by the start of the keys": byStart,
	} {
		t.Run(name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) {
				s := stream.RepartitionBy(stream.From(b, events), "rp", by)
				stream.To(join.StreamTable(s, table.From(b, atEnd, "t"), "j", same2), joined)
			}, testdriver.Partitions(4))
			err := testdriver.Input(d, events).SendErr(stream.Record[string, string]{Key: "b1", Value: "xy", Time: time.UnixMilli(0)})
			assert.ErrorContains(t, err, `topic "at-end" has in partition 1`)
			assert.ErrorContains(t, err, "rp-repartition")
		})
	}
}

// The keys of a processor's rows may be others than those of its records: the program says so.
func TestPartitioner_ProcessorsThatShareAStore(t *testing.T) {
	byValue := func(r stream.Record[string, string], n int) int { return len(r.Value) % n }
	for name, program := range map[string]func(b *stream.Builder) any{
		"by the hash and by a partitioner": func(b *stream.Builder) any {
			return stream.Merge(puts(stream.AssumePartitioned(stream.From(b, atEnd)), shared), gets(stream.From(b, events), shared))
		},
		"by values": func(b *stream.Builder) any {
			return stream.Merge(puts(stream.RepartitionBy(stream.From(b, atEnd), "x", byValue), shared), gets(stream.RepartitionBy(stream.From(b, events), "y", byValue), shared))
		},
	} {
		t.Run(name, func(t *testing.T) { require.NotEmpty(t, resultsOf(t, program, 5)) })
	}
}
