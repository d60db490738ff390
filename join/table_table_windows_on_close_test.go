package join_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

// TestTableTable_WindowsOnCloseDoNotDependOnRetention joins two aggregations that close a window
// with the same record, or with one after the other. What Kafka Streams 4.3 gives was seen in its
// TopologyTestDriver, and is the same with both retentions.
func TestTableTable_WindowsOnCloseDoNotDependOnRetention(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	both := func(in string) []string {
		var all []string
		for _, r := range strings.Fields(in) {
			all = append(all, "left "+r, "rows "+r)
		}
		return all
	}
	one := func(in string) []string {
		var all []string
		for _, r := range strings.Fields(in) {
			all = append(all, "left "+r)
		}
		return all
	}
	for _, c := range []struct {
		name, in, want string
		w              window.Any
	}{
		{"hopping windows", "a=1@1 a=2@7 a=3@15 a=4@20 a=5@26", "0:12+12@7 0:12+12@7 5:2+2@7 5:2+2@7 10:3+3@15 10:3+3@15",
			window.Hopping(ms(10), ms(5)).Grace(ms(5)).OnClose()},
		{"tumbling windows", "a=1@0 a=2@7 a=3@10 a=4@20", "0:12+12@7 0:12+12@7 10:3+3@10 10:3+3@10",
			window.Tumbling(ms(10)).OnClose()},
	} {
		for _, opts := range [][]store.Option{nil, {store.Retention(time.Hour)}, {store.InMemory()}, {store.Retention(15 * time.Millisecond)}} {
			for _, topics := range []int{1, 2} {
				d := drive(t, func(b *stream.Builder) {
					add := func(s kstream, name string) table.KTable[window.Key[string], string] {
						return table.ReduceWindows(stream.GroupByKey(s), c.w, name, func(a, v string) string { return a + v }, opts...)
					}
					l := stream.From(b, left)
					r := l
					if topics == 2 {
						r = stream.From(b, rows)
					}
					j := table.ToStream(join.TableTable(add(l, "l"), add(r, "r"), func(l, r string) string { return l + "+" + r }))
					stream.To(stream.MapKeys(j, func(k window.Key[string]) string { return fmt.Sprint(k.Start.UnixMilli()) }), joined)
				})
				if topics == 2 {
					send(d, both(c.in)...)
				} else {
					send(d, one(c.in)...)
				}
				var got []string
				for _, r := range testdriver.Output(d, joined).Read() {
					got = append(got, fmt.Sprintf("%s:%s@%d", r.Key, r.Value, r.Time.UnixMilli()))
				}
				assert.Equal(t, c.want, strings.Join(got, " "), "%s, %d topics, %d options", c.name, topics, len(opts))
			}
		}
	}
}
