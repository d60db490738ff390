package join_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// TestRepartition_RecordsWithoutAKeyReachLeftJoins sends a record without a key to programs with an
// explicit repartition topic. What Kafka Streams 4.3 gives was seen in its TopologyTestDriver.
func TestRepartition_RecordsWithoutAKeyReachLeftJoins(t *testing.T) {
	pair := func(l, r join.Maybe[string]) string { return l.Or("null") + "+" + r.Or("null") }
	maybe := func(l, r string, ok bool) string { return strings.TrimSuffix(fmt.Sprint(l, "+", r, ok), "true") }
	hour := window.Within(time.Hour)
	for name, c := range map[string]struct {
		program func(b *stream.Builder, in kstream) kstream
		want    []string
		dropped int
	}{
		"outer join of a stream with itself": {func(_ *stream.Builder, in kstream) kstream {
			return join.StreamStreamOuter(in, stream.Repartition(in, "rp"), hour, "j", pair)
		}, []string{"d1+null", "null+d1"}, 0},
		"left join of streams": {func(_ *stream.Builder, in kstream) kstream {
			return join.StreamStreamLeft(stream.Repartition(in, "rp"), in, hour, "j", maybe)
		}, []string{"d1+false"}, 1}, // the right side drops it
		"left join with a table": {func(b *stream.Builder, in kstream) kstream {
			return join.StreamTableLeft(stream.Repartition(in, "rp"), table.From(b, rows, "t"), "j", maybe)
		}, []string{"d1+false"}, 0},
		"behind other steps": {func(b *stream.Builder, in kstream) kstream {
			all := stream.Filter(stream.Repartition(in, "rp"), func(_, v string) bool { return v != "" })
			return join.StreamTableLeft(stream.SelectKey(all, func(_, v string) string { return v }), table.From(b, rows, "t"), "j", maybe)
		}, []string{"d1+false"}, 0},
		"behind another repartition topic": {func(b *stream.Builder, in kstream) kstream {
			return join.StreamTableLeft(stream.Repartition(stream.Repartition(in, "rp"), "again"), table.From(b, rows, "t"), "j", maybe)
		}, []string{"d1+false"}, 0},
		"by a function of keys": {func(b *stream.Builder, in kstream) kstream {
			by := stream.RepartitionBy(in, "rp", func(r stream.Record[string, string], n int) int { return int(r.Key[0]) % n })
			other := stream.RepartitionBy(stream.From(b, rows), "other", func(r stream.Record[string, string], n int) int { return int(r.Key[0]) % n })
			return join.StreamStreamLeft(by, other, hour, "j", maybe)
		}, []string{"d1+false"}, 0},
		"other steps behind the same topic": {func(b *stream.Builder, in kstream) kstream {
			rp := stream.Repartition(in, "rp")
			join.StreamTableLeft(rp, table.From(b, rows, "t"), "j", maybe)
			return rp
		}, []string{"d1"}, 0},
		"inner join": {func(b *stream.Builder, in kstream) kstream {
			return join.StreamTable(stream.Repartition(in, "rp"), table.From(b, rows, "t"), "j", func(l, r string) string { return l + r })
		}, nil, 1},
		"no join": {func(_ *stream.Builder, in kstream) kstream { return stream.Repartition(in, "rp") }, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			out := stream.NewTopic("out", serde.String, serde.String)
			d := drive(t, func(b *stream.Builder) { stream.To(c.program(b, stream.From(b, left)), out) }, testdriver.Partitions(3))
			testdriver.Input(d, left).SendRecord(stream.Record[string, string]{NoKey: true, Value: "d1", Time: time.UnixMilli(20)})
			var got []string
			for _, r := range testdriver.Output(d, out).Read() {
				got = append(got, r.Value)
			}
			slices.Sort(got)
			assert.Equal(t, c.want, got)
			n := 0
			for _, k := range d.Dropped() {
				n += k
			}
			assert.Equal(t, c.dropped, n, d.Dropped())
		})
	}
}

// TestStreamTableLeft_DoesNotReadFilteredRows reads the rows of filters and of ProcessValues, which
// keep no store of their own.
func TestStreamTableLeft_DoesNotReadFilteredRows(t *testing.T) {
	refusing := map[string]func(rows ktable) ktable{
		"Filter": func(rows ktable) ktable { return table.Filter(rows, func(_, _ string) bool { return false }) },
		"ProcessValues": func(rows ktable) ktable {
			return table.ProcessValues(rows, "p", func(*topology.Task) (func(string, string, bool) (string, bool, error), error) {
				return func(_, v string, _ bool) (string, bool, error) { return v, false, nil }, nil
			})
		},
	}
	for name, f := range refusing {
		d := drive(t, func(b *stream.Builder) {
			stream.To(join.StreamTableLeft(stream.From(b, left), f(table.From(b, rows, "t")), "j", func(l, r string, ok bool) string { return fmt.Sprint(l, "+", r, ok) }), joined)
		})
		send(d, "rows a=refused@1", "left a=x@2")
		assert.Equal(t, "x+false", testdriver.Output(d, joined).ReadOne().Value, name)
	}
}
