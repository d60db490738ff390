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

func pairs(l, r ktable) ktable {
	return join.TableTable(l, r, func(l, r string) string { return l + "+" + r })
}

func lefts(l, r ktable) ktable {
	return join.TableTableLeft(l, r, func(l, r string, ok bool) string { return l + "+" + join.Maybe[string]{V: r, OK: ok}.Or("none") })
}

func outers(l, r ktable) ktable {
	return join.TableTableOuter(l, r, func(l, r join.Maybe[string]) string { return l.Or("none") + "+" + r.Or("none") })
}

func rowsOf(b *stream.Builder, topic string) ktable {
	return table.From(b, stream.NewTopic(topic, serde.String, serde.String), topic+"-rows", store.OnDemand())
}

// changes are what has come out, as "a=1+x@2 left" or "a gone@3 left".
func changes(d *testdriver.Driver) string {
	var out []string
	for _, r := range testdriver.Output(d, joined).Read() {
		from, _ := r.Headers.Get("from")
		text := r.Key + "=" + r.Value
		if r.Tombstone {
			text = r.Key + " gone"
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s@%d %s", text, r.Time.UnixMilli(), from)))
	}
	return strings.Join(out, ", ")
}

func TestTableTable_Matrix(t *testing.T) {
	steps := []string{
		"left a@1", "right a@2", "left a=1@5", "right a=x@3", "left a=2@4", "right a@6", "right a@7", "left a@8", "left a@9",
		"right a=y@10", "left a@11", "left a=3@12", "left a@13", "left a@14", "right a@15", "right a@16", "left =n@17",
	}
	for _, tt := range []struct {
		name string
		join func(l, r ktable) ktable
		want []string // by step
	}{
		{"inner", pairs, []string{
			"", "", "", "a=1+x@5 right", "a=2+x@4 left", "a gone@6 right", "a gone@7 right", "", "",
			"", "a gone@11 left", "a=3+y@12 left", "a gone@13 left", "a gone@14 left", "", "", "",
		}},
		{"left", lefts, []string{
			"", "", "a=1+none@5 left", "a=1+x@5 right", "a=2+x@4 left", "a=2+none@6 right", "a=2+none@7 right", "a gone@8 left", "",
			"", "a gone@11 left", "a=3+y@12 left", "a gone@13 left", "a gone@14 left", "", "", "",
		}},
		{"outer", outers, []string{
			"", "", "a=1+none@5 left", "a=1+x@5 right", "a=2+x@4 left", "a=2+none@6 right", "a=2+none@7 right", "a gone@8 left", "",
			"a=none+y@10 right", "a=none+y@11 left", "a=3+y@12 left", "a=none+y@13 left", "a=none+y@14 left", "a gone@15 right", "", "",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) {
				stream.To(table.ToStream(tt.join(rowsOf(b, "left"), rowsOf(b, "right"))), joined)
			})
			for i, s := range steps {
				send(d, s)
				require.Equal(t, tt.want[i], changes(d), "step %d: %s", i, s)
				if i%3 == 0 {
					d.Restart()
				}
			}
			assert.Equal(t, map[string]int{"record without key": 1}, d.Dropped())
		})
	}
}

// Kafka Streams says nothing of a deletion in a table that is joined with itself: each side finds the other gone.
func TestTableTable_SelfJoinSendsDeletions(t *testing.T) {
	upper := func(t ktable) ktable { return table.MapValues(t, strings.ToUpper) }
	steps := []string{"in a@0", "in a=x@1", "in b=y@2", "in a=z@3", "in a@4", "in a@5", "in b@6"}
	for _, tt := range []struct {
		name string
		join func(in ktable) ktable
		want string
	}{
		{"inner", func(in ktable) ktable { return pairs(in, in) },
			"a=x+x@1 in, a=x+x@1 in, b=y+y@2 in, b=y+y@2 in, a=z+z@3 in, a=z+z@3 in, a gone@4 in, b gone@6 in"},
		{"left", func(in ktable) ktable { return lefts(in, in) },
			"a=x+x@1 in, a=x+x@1 in, b=y+y@2 in, b=y+y@2 in, a=z+z@3 in, a=z+z@3 in, a gone@4 in, b gone@6 in"},
		{"outer", func(in ktable) ktable { return outers(in, in) },
			"a=x+x@1 in, a=x+x@1 in, b=y+y@2 in, b=y+y@2 in, a=z+z@3 in, a=z+z@3 in, a gone@4 in, a gone@4 in, b gone@6 in, b gone@6 in"},
		{"with what follows from it", func(in ktable) ktable { return pairs(in, upper(in)) },
			"a=x+X@1 in, a=x+X@1 in, b=y+Y@2 in, b=y+Y@2 in, a=z+Z@3 in, a=z+Z@3 in, a gone@4 in, b gone@6 in"},
		{"with what follows from it, by another order of the calls", func(in ktable) ktable { return pairs(upper(in), in) },
			"a=X+x@1 in, a=X+x@1 in, b=Y+y@2 in, b=Y+y@2 in, a=Z+z@3 in, a=Z+z@3 in, a gone@4 in, b gone@6 in"},
		{"with some of its rows", func(in ktable) ktable {
			return pairs(in, table.Filter(in, func(_, v string) bool { return v != "z" }))
		}, "a=x+x@1 in, a=x+x@1 in, b=y+y@2 in, b=y+y@2 in, a gone@3 in, b gone@6 in"},
		{"with a copy of it", func(in ktable) ktable { return pairs(in, table.Materialize(upper(in), "upper")) },
			"a=x+X@1 in, a=x+X@1 in, b=y+Y@2 in, b=y+Y@2 in, a=z+Z@3 in, a=z+Z@3 in, a gone@4 in, b gone@6 in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) { stream.To(table.ToStream(tt.join(rowsOf(b, "in"))), joined) })
			send(d, steps...)
			assert.Equal(t, tt.want, changes(d))
		})
	}
}

func TestTableTable_SelfJoinHasOldRows(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		in := rowsOf(b, "in")
		// The filter asks for old rows: with them it knows what it has sent.
		stream.To(table.ToStream(table.Filter(pairs(in, in), func(_, v string) bool { return v == "x+x" })), joined)
		table.Materialize(pairs(in, in), "kept")
	})
	send(d, "in a=y@1", "in a=x@2", "in a=y@3", "in a=y@4", "in a=x@5", "in a@6", "in a@7")
	assert.Equal(t, "a=x+x@2 in, a=x+x@2 in, a gone@3 in, a=x+x@5 in, a=x+x@5 in, a gone@6 in", changes(d))
}

func TestTableTable_RowsAreComputedFromBothSides(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		l, r := rowsOf(b, "left"), rowsOf(b, "right")
		f := table.Filter(l, func(_, v string) bool { return v != "hidden" })
		in := stream.From(b, stream.NewTopic("in", serde.String, serde.String))
		for i, j := range []ktable{pairs(f, r), lefts(f, r), outers(f, r)} {
			stream.To(join.StreamTableLeft(in, j, fmt.Sprint("j", i), func(v, row string, ok bool) string { return fmt.Sprint(v, row, ok) }), joined)
		}
	})
	ask := func(want string) {
		t.Helper()
		send(d, "in a=?@100")
		assert.Equal(t, want, strings.ReplaceAll(changes(d), "@100 in", ""))
	}
	ask("a=?false, a=?false, a=?false")
	send(d, "right a=x@1")
	ask("a=?false, a=?false, a=?none+xtrue")
	send(d, "left a=hidden@2")
	ask("a=?false, a=?false, a=?none+xtrue")
	send(d, "left a=1@3")
	ask("a=?1+xtrue, a=?1+xtrue, a=?1+xtrue")
	send(d, "right a@4")
	ask("a=?false, a=?1+nonetrue, a=?1+nonetrue")
}

// Of tables that keep versions only the latest of a row is joined. A deletion is a version, also where it takes the place of a row at the
// same time: Kafka Streams forgets it there, and joins an update that is older.
func TestTableTable_OnlyLatestVersionsAreJoined(t *testing.T) {
	versions := func(b *stream.Builder, topic string) ktable {
		return table.From(b, stream.NewTopic(topic, serde.String, serde.String), topic+"-rows", store.Versions(time.Hour))
	}
	d := drive(t, func(b *stream.Builder) {
		stream.To(table.ToStream(pairs(versions(b, "left"), rowsOf(b, "right"))), joined)
	})
	send(d, "left a=1@10", "right a=x@20", "left a=0@5", "right a=w@15", "left a=2@11")
	assert.Equal(t, "a=1+x@20 right, a=1+w@15 right, a=2+w@15 left", changes(d), "the right side keeps none, so what arrives last counts there")
	send(d, "left a@11", "left a=3@10", "left a=4@11")
	assert.Equal(t, "a gone@15 left, a=4+w@15 left", changes(d))
	assert.Equal(t, map[string]int{"update older than the row's latest version": 2}, d.Dropped())
}

func TestTableTable_SidesMustBeCoPartitioned(t *testing.T) {
	b := stream.NewBuilder()
	pairs(rowsOf(b, "left"), rowsOf(b, "right")).Named("both")
	top, err := b.Build()
	require.NoError(t, err)
	assert.Equal(t, [][]string{{"left", "right"}}, (*graph.Handle)(top).Graph().CoPartitioned)
	assert.Len(t, (*graph.Handle)(top).Graph().Subtopologies, 1)
	var names []string
	for _, n := range (*graph.Handle)(top).Graph().Nodes {
		names = append(names, n.Name)
	}
	assert.Subset(t, names, []string{"both-join-this", "both-join-other", "both"})
}

func TestTableTable_Mistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"a zero table", func(b *stream.Builder) { pairs(rowsOf(b, "left"), ktable{}) }, "zero handle"},
		{"two builders", func(b *stream.Builder) { lefts(rowsOf(b, "left"), rowsOf(stream.NewBuilder(), "right")) }, "another builder"},
		{"no function", func(b *stream.Builder) {
			join.TableTableOuter[string, string, string, string](rowsOf(b, "left"), rowsOf(b, "right"), nil)
		}, "its function is nil"},
		{"no store to read", func(b *stream.Builder) {
			j := pairs(rowsOf(b, "left"), rowsOf(b, "right"))
			stream.Process(stream.From(b, joined), "p", func(*stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
				return nil, nil
			}, j.Store())
		}, "has no store"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "table_table_test.go:")
		})
	}
}
