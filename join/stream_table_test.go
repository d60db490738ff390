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
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

var (
	left   = stream.NewTopic("left", serde.String, serde.String)
	rows   = stream.NewTopic("rows", serde.String, serde.String)
	joined = stream.NewTopic("joined", serde.String, serde.String)
)

type (
	kstream = stream.KStream[string, string]
	ktable  = table.KTable[string, string]
)

func inner(s kstream, t ktable) kstream {
	return join.StreamTable(s, t, "j", func(v, row string) string { return v + "+" + row })
}

func outer(s kstream, t ktable) kstream {
	return join.StreamTableLeft(s, t, "j", func(v, row string, ok bool) string {
		if !ok {
			return v + "+none"
		}
		return v + "+" + row
	})
}

func drive(t *testing.T, f func(b *stream.Builder), opts ...testdriver.Option) *testdriver.Driver {
	t.Helper()
	b := stream.NewBuilder()
	f(b)
	top, err := b.Build()
	require.NoError(t, err)
	return testdriver.New(t, top, opts...)
}

// send sends "topic key=value@time" or "topic key@time", a tombstone; without a key where it is empty.
func send(d *testdriver.Driver, records ...string) {
	for _, s := range records {
		topic, rest, _ := strings.Cut(s, " ")
		what, at, _ := strings.Cut(rest, "@")
		k, v, ok := strings.Cut(what, "=")
		var ms int64
		_, _ = fmt.Sscan(at, &ms)
		in := testdriver.Input(d, stream.NewTopic(topic, serde.String, serde.String)).Header("from", []byte(topic))
		in.SendRecord(stream.Record[string, string]{Key: k, NoKey: k == "", Value: v, Tombstone: !ok, Time: time.UnixMilli(ms)})
	}
}

func taken(d *testdriver.Driver) string {
	var out []string
	for _, r := range testdriver.Output(d, joined).Read() {
		from, _ := r.Headers.Get("from")
		out = append(out, fmt.Sprintf("%s=%s@%d %s", r.Key, r.Value, r.Time.UnixMilli(), from))
	}
	return strings.Join(out, ", ")
}

func from(b *stream.Builder) ktable { return table.From(b, rows, "rows") }

func TestStreamTable(t *testing.T) {
	steps := []string{"left a=1@1", "rows a=x@50", "left a=2@2", "rows a=y@40", "left a=3@100", "left b=4@3", "left a@4", "left =5@5", "left @6", "rows a@7", "left a=6@8"}
	for _, tt := range []struct {
		name    string
		table   func(b *stream.Builder) ktable
		join    func(kstream, ktable) kstream
		want    string
		dropped map[string]int
	}{
		{"only records of the stream give results, with their key, time and headers; the latest row to arrive counts", from, inner,
			"a=2+x@2 left, a=3+y@100 left", map[string]int{"record without key": 2, "record without value": 1}},
		{"a left join joins records without a row and without a key", from, outer,
			"a=1+none@1 left, a=2+x@2 left, a=3+y@100 left, b=4+none@3 left, =5+none@5 left, a=6+none@8 left", map[string]int{"record without value": 2}},
		{"a join has a table on demand keep its rows",
			func(b *stream.Builder) ktable { return table.From(b, rows, "rows", store.OnDemand()) }, inner,
			"a=2+x@2 left, a=3+y@100 left", map[string]int{"record without key": 2, "record without value": 1}},
		{"rows are read through tables that keep none",
			func(b *stream.Builder) ktable {
				f := table.Filter(from(b), func(_, v string) bool { return v != "x" })
				return table.MapValues(f, strings.ToUpper)
			}, inner,
			"a=3+Y@100 left", map[string]int{"record without key": 2, "record without value": 1}},
		{"a table may have rows where the one before it has none",
			func(b *stream.Builder) ktable {
				return table.MapRows(from(b), func(_, v string, row bool) (string, bool) { return fmt.Sprint(row), v != "y" })
			}, inner,
			"a=1+false@1 left, a=2+true@2 left, b=4+false@3 left, a=6+false@8 left", map[string]int{"record without key": 2, "record without value": 1}},
		{"a kept result is read from its store",
			func(b *stream.Builder) ktable {
				return table.Materialize(table.MapValues(from(b), strings.ToUpper), "upper")
			}, inner,
			"a=2+X@2 left, a=3+Y@100 left", map[string]int{"record without key": 2, "record without value": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) { stream.To(tt.join(stream.From(b, left), tt.table(b)), joined) })
			send(d, steps...)
			assert.Equal(t, tt.want, taken(d))
			assert.Equal(t, tt.dropped, d.Dropped())
		})
	}
}

func TestStreamTable_ChangedKeysAreRepartitioned(t *testing.T) {
	for _, tt := range []struct {
		name    string
		join    func(kstream, ktable) kstream
		want    string
		dropped map[string]int
	}{
		{"inner: records without a key do not enter it", inner, "a=ab+x@2 left", map[string]int{"record without key not sent to a repartition topic": 2}},
		{"left: they pass", outer, "a=ab+x@2 left, c=cd+none@3 left, =+none@4 left", map[string]int{"record without value": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) {
				s := stream.MapRecords(stream.From(b, left), func(r stream.Record[string, string]) stream.Record[string, string] {
					if r.Tombstone || r.Value == "" {
						return r.Keyless()
					}
					return stream.WithKey(r, r.Value[:1])
				})
				stream.To(tt.join(s, from(b)), joined)
			}, testdriver.Partitions(3))
			send(d, "rows a=x@1", "left k=ab@2", "left k=cd@3", "left k=@4", "left k@5")
			assert.Equal(t, tt.want, taken(d))
			assert.Equal(t, tt.dropped, d.Dropped())
			assert.Contains(t, d.Topics(), "testdriver-j-repartition")
		})
	}
}

func TestStreamTable_StreamJoinsItsOwnCount(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		s := stream.From(b, left)
		n := table.Count(stream.GroupByKey(s), "n")
		stream.To(join.StreamTable(s, n, "j", func(v string, n int64) string { return fmt.Sprint(v, "#", n) }), joined)
	})
	send(d, "left a=v@1", "left a=v@2", "left b=w@3")
	assert.Equal(t, "a=v#1@1 left, a=v#2@2 left, b=w#1@3 left", taken(d))
}

func TestStreamTable_SidesMustBeCoPartitioned(t *testing.T) {
	b := stream.NewBuilder()
	stream.To(inner(stream.From(b, left), from(b)), joined)
	top, err := b.Build()
	require.NoError(t, err)
	assert.Equal(t, [][]string{{"left", "rows"}}, (*graph.Handle)(top).Graph().CoPartitioned)
	assert.Len(t, (*graph.Handle)(top).Graph().Subtopologies, 1, "the join reads the table's store, so both are one sub-topology")
}

func TestStreamTable_Mistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"no name", func(b *stream.Builder) {
			join.StreamTable(stream.From(b, left), from(b), "", func(v, row string) string { return v })
		}, "its name is empty"},
		{"a zero table", func(b *stream.Builder) { inner(stream.From(b, left), ktable{}) }, "zero handle"},
		{"a table of another builder", func(b *stream.Builder) { inner(stream.From(b, left), from(stream.NewBuilder())) }, "another builder"},
		{"no function", func(b *stream.Builder) {
			join.StreamTableLeft[string, string, string, string](stream.From(b, left), from(b), "j", nil)
		}, "its function is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "stream_table_test.go:")
		})
	}
}
