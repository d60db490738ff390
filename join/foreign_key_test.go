package join_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

// partBefore is the foreign key of a value: the part before '|'.
func partBefore(_, v string) (string, bool) {
	fk, _, ok := strings.Cut(v, "|")
	return fk, ok
}

func foreigns(l, r ktable) ktable {
	return join.ForeignKey(l, r, "fk", partBefore, func(l, r string) string { return l + "+" + r })
}

func foreignLefts(l, r ktable) ktable {
	return join.ForeignKeyLeft(l, r, "fk", partBefore, func(l, r string, ok bool) string {
		return l + "+" + join.Maybe[string]{V: r, OK: ok}.Or("none")
	})
}

func foreignDriver(t *testing.T, join func(l, r ktable) ktable, opts ...testdriver.Option) *testdriver.Driver {
	return drive(t, func(b *stream.Builder) {
		stream.To(table.ToStream(join(rowsOf(b, "left"), rowsOf(b, "right"))), joined)
	}, opts...)
}

// What is expected here is what Kafka Streams 4.3 gives for the same steps.
func TestForeignKey(t *testing.T) {
	for _, tt := range []struct {
		name    string
		join    func(l, r ktable) ktable
		steps   []string // what is sent, and behind > what comes out
		dropped map[string]int
	}{
		{"inner", foreigns, []string{
			"right f=X@50 >", "left k=f|1@3 > k=f|1+X@50 left", "left k@4 > k gone@50 left", "left k@4 >",
			"left k=f|2@5 > k=f|2+X@50 left", "left k=none@6 > k gone@50 left", "left k=f|2@7 > k=f|2+X@50 left",
			"right g=Y@60 >", "left k=g|3@8 > k=g|3+Y@60 left", "left k=h|1@9 > k gone@9 left", "left k=f|@10 > k=f|+X@50 left",
			"right f=Z@20 > k=f|+Z@20 right", "right f@21 > k gone@21 right", "right f@22 > k gone@22 right",
			"right h=Q@1 >", "left j=none@1 >", "left j@2 >", "left =f|1@1 >", "right =X@1 >",
		}, map[string]int{"row without foreign key": 2, "record without key": 2}},
		{"left", foreignLefts, []string{
			"right f=X@50 >", "left k=f|1@3 > k=f|1+X@50 left", "left k@4 > k gone@4 left", "left k@5 >", "left k=f|2@5 > k=f|2+X@50 left",
			"left k=none@6 > k=none+none@6 left", "left k=none@6 > k=none+none@6 left", "left k=f|2@7 > k=f|2+X@50 left",
			"right g=Y@60 >", "left k=g|3@8 > k=g|3+Y@60 left", "left k=h|1@9 > k=h|1+none@9 left",
			"right h=Z@2 > k=h|1+Z@2 right", "right h@3 > k=h|1+none@3 right", "right h@4 > k=h|1+none@4 right", "left k@5 > k gone@5 left",
			"left k@6 >", "left k=none@7 > k=none+none@7 left", "left k@8 > k gone@8 left",
		}, map[string]int{}},
		{"a filter of the result", func(l, r ktable) ktable {
			return table.Filter(foreigns(l, r), func(_, v string) bool { return strings.HasPrefix(v, "x") })
		}, []string{"left a=f|o@1 >", "right f=1@2 > a gone@2 right", "left a=f|o@3 > a gone@3 left", "right f@4 > a gone@4 right"}, map[string]int{}},
		{"keys that begin alike", foreigns, []string{
			"left k=f|1@0 >", "left k1=ff|2@1 >", "left k11=f|3@2 >", "left j=f|4@3 >", "left e=|5@3 >",
			"right f=X@10 > j=f|4+X@10 right, k=f|1+X@10 right, k11=f|3+X@10 right", "right ff=Y@11 > k1=ff|2+Y@11 right",
		}, map[string]int{}},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, ", restarts ", restart), func(t *testing.T) {
				d := foreignDriver(t, tt.join)
				for _, s := range tt.steps {
					in, want, _ := strings.Cut(s, " >")
					send(d, in)
					require.Equal(t, strings.TrimSpace(want), changes(d), in)
					if restart {
						d.Wipe()
					}
				}
				assert.Equal(t, tt.dropped, d.Dropped())
			})
		}
	}
}

func TestForeignKey_ResultsAreReadByOtherSteps(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		fk := foreigns(rowsOf(b, "left"), rowsOf(b, "right"))
		all := table.GroupBy(fk, func(_, v string) (string, string, bool) { return "all", v, true })
		agg := table.AggregateRows(all, "agg", table.Zero,
			func(_, v, agg string) string { return agg + "+" + v }, func(_, v, agg string) string { return agg + "-" + v })
		stream.To(table.ToStream(agg), joined)
		in := stream.From(b, stream.NewTopic("in", serde.String, serde.String))
		stream.To(join.StreamTable(in, fk, "read", func(v, row string) string { return v + row }), joined)
	})
	send(d, "left a=f|o@1", "right f=1@2", "in a=?@9", "left a=f|p@3", "right f@4", "right f@5", "in a=?@9")
	assert.Equal(t, "all=+f|o+1@2 right, a=?f|o+1@9 in, all=+f|o+1-f|o+1+f|p+1@3 left, all=+f|o+1-f|o+1+f|p+1-f|p+1@4 right", changes(d))
	rows, err := store.NewKeyValue("fk-result", serde.String, serde.String).In(d).Len()
	require.NoError(t, err)
	assert.Zero(t, rows)
}

func TestForeignKey_TableRefersToItself(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		people := rowsOf(b, "in") // boss|name
		stream.To(table.ToStream(foreignLefts(people, people)), joined)
	}, testdriver.Partitions(4))
	send(d, "in ann=|Ann@1", "in ben=ann|Ben@2", "in cy=ben|Cy@3", "in ann=|Anna@4", "in ben@5")
	assert.Equal(t, map[string]string{"ann": "|Anna+none", "cy": "ben|Cy+none"}, testdriver.Table(testdriver.Output(d, joined)))
}

// Answers that come when the row has changed are not for it.
func TestForeignKey_StaleResponsesAreDropped(t *testing.T) {
	d := foreignDriver(t, foreigns)
	send(d, "right f=X@1", "left k=f|1@2")
	assert.Equal(t, "k=f|1+X@2 left", changes(d))
	for _, r := range d.Raw("testdriver-fk-subscription-response-topic") {
		in := testdriver.Input(d, stream.NewTopic("testdriver-fk-subscription-response-topic", serde.Bytes, serde.Bytes))
		send(d, "left k=f|2@3")
		changes(d)
		require.NoError(t, in.SendBytesErr(r.Key, r.Value))
	}
	assert.Empty(t, changes(d))
	assert.Equal(t, map[string]int{"answer to a row that has changed since": 1}, d.Dropped())
}

func TestForeignKey_InvalidSubscriptionGoesToThePolicy(t *testing.T) {
	for _, topic := range []string{"testdriver-fk-subscription-registration-topic", "testdriver-fk-subscription-response-topic"} {
		d := foreignDriver(t, foreigns, testdriver.OnDecodeError(failure.Skip()))
		in := testdriver.Input(d, stream.NewTopic(topic, serde.Bytes, serde.Bytes))
		require.NoError(t, in.SendBytesErr([]byte("k"), []byte{9, 9, 9}))
		require.NoError(t, in.SendBytesErr([]byte("k"), nil))
		require.NoError(t, in.SendBytesErr(nil, []byte{0x80, 3}))
		assert.Equal(t, 3, d.Dropped()["record does not decode"]+d.Dropped()["record without key"]+d.Dropped()["record without value"], "%v", d.Dropped())
		send(d, "right f=X@1", "left k=f|1@2")
		assert.Equal(t, "k=f|1+X@2 left", changes(d))
	}
}

// An answer goes to where its row is, whatever partitioned the left table.
func TestForeignKey_ResponsesReachThePartitionOfTheirRow(t *testing.T) {
	to := func(p int) func(stream.Record[string, string], int) int {
		return func(stream.Record[string, string], int) int { return p }
	}
	lefts := stream.NewTopic("left", serde.String, serde.String).Partitioner(to(2))
	d := foreignDriver(t, foreigns, testdriver.TopicPartitions("left", 3), testdriver.TopicPartitions("right", 5))
	testdriver.Input(d, lefts).Send("a", "f|1")
	testdriver.Input(d, lefts).Send("b", "f|2")
	send(d, "right f=X@5", "right f=Y@6")
	for _, r := range d.Raw("testdriver-fk-subscription-response-topic") {
		assert.EqualValues(t, 2, r.Partition)
	}
	assert.Equal(t, map[string]string{"a": "f|1+Y", "b": "f|2+Y"}, testdriver.Table(testdriver.Output(d, joined)))
}

func TestForeignKey_Topics(t *testing.T) {
	b := stream.NewBuilder()
	foreigns(rowsOf(b, "left"), rowsOf(b, "right"))
	top, err := b.Build()
	require.NoError(t, err)
	g := (*graph.Handle)(top).Graph()
	assert.Equal(t, [][]string{{"fk-subscription-registration-topic", "right"}, {"fk-subscription-response-topic", "left"}}, g.CoPartitioned)
	assert.Len(t, g.Subtopologies, 2)
	require.NotNil(t, g.Store("fk-subscription-store"))
	assert.Nil(t, g.Store("fk-result"), "nothing needs it")
}

func TestMiddleware_SeesTheStepsOfJoins(t *testing.T) {
	seen := map[string]int{}
	b := stream.NewBuilder(stream.Middleware(func(s topology.Node, _ string) topology.Around {
		return func(p topology.Passing, next func() error) error {
			seen[s.Name]++
			return next()
		}
	}))
	l, r := rowsOf(b, "left"), rowsOf(b, "right")
	pairs(l, r).Named("pairs")
	foreigns(l, r)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	send(d, "left k=f|1@1", "right f=X@2")
	assert.Equal(t, 1, seen["pairs-join-this"])
	assert.Equal(t, 1, seen["fk-subscription-receive"])
	assert.Equal(t, 1, seen["fk-result"])
}

func TestForeignKey_Mistakes(t *testing.T) {
	type odd struct{ A int }
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"no name", func(b *stream.Builder) {
			join.ForeignKey(rowsOf(b, "left"), rowsOf(b, "right"), "", partBefore, func(l, r string) string { return l })
		}, "its name is empty"},
		{"no key", func(b *stream.Builder) {
			join.ForeignKey(rowsOf(b, "left"), rowsOf(b, "right"), "fk", nil, func(l, r string) string { return l })
		}, "function 1 of 2 is nil"},
		{"no join", func(b *stream.Builder) {
			join.ForeignKeyLeft[string, string, string, string, string](rowsOf(b, "left"), rowsOf(b, "right"), "fk", partBefore, nil)
		}, "function 2 of 2 is nil"},
		{"a zero table", func(b *stream.Builder) { foreigns(ktable{}, rowsOf(b, "right")) }, "zero handle"},
		{"only zero tables", func(*stream.Builder) { foreigns(ktable{}, ktable{}) }, "zero handle"},
		{"an option that does not apply", func(b *stream.Builder) {
			join.ForeignKey(rowsOf(b, "left"), rowsOf(b, "right"), "fk", partBefore, func(l, r string) string { return l }, store.OnDemand())
		}, "store.OnDemand does not apply"},
		{"the name of another", func(b *stream.Builder) {
			l, r := rowsOf(b, "left"), rowsOf(b, "right")
			foreigns(l, r)
			foreigns(l, r)
		}, "exists"},
		{"no serde", func(b *stream.Builder) {
			l := table.MapValues(rowsOf(b, "left"), func(string) odd { return odd{} })
			join.ForeignKey(l, rowsOf(b, "right"), "fk", func(string, odd) (string, bool) { return "", true }, func(odd, string) string { return "" })
		}, "no serde for its values"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			stream.To(stream.From(b, stream.NewTopic("in", serde.String, serde.String)), joined)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "foreign_key_test.go:")
			assert.NotContains(t, err.Error(), "ToTable")
		})
	}
}
