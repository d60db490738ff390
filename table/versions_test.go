package table_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

func withVersions(history int64) store.Option { return store.Versions(ms(history)) }

func TestVersions_Tables(t *testing.T) {
	updates := []string{"a=x1@100", "a=x3@300", "a=o2@200", "a@250", "a=x4@100", "b=x@1250", "a=x0@249", "a=o9@250", "=x@1"}
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder) text
		want string
	}{
		{"updates are sent as they come, but those too old",
			func(b *stream.Builder) text { return table.From(b, texts, "t", withVersions(1000)) },
			"a=x1@100 a=x3@300 a=o2@200 a@250 a=x4@100 b=x@1250 a=o9@250"},
		{"a stream as a table is no different",
			func(b *stream.Builder) text { return table.ToTable(stream.From(b, texts), "t", withVersions(1000)) },
			"a=x1@100 a=x3@300 a=o2@200 a@250 a=x4@100 b=x@1250 a=o9@250"},
		{"a filter passes all of them on, and deletions of what it never passed",
			func(b *stream.Builder) text {
				return table.Filter(table.From(b, texts, "t", withVersions(1000)), startsWithX)
			},
			"a=x1@100 a=x3@300 a@200 a@250 a=x4@100 b=x@1250 a@250"},
		{"a table kept without versions again has the latest to arrive",
			func(b *stream.Builder) text {
				return table.Filter(table.Materialize(table.From(b, texts, "t", withVersions(1000)), "m"), startsWithX)
			},
			"a=x1@100 a=x3@300 a@200 a=x4@100 b=x@1250 a@250"},
		{"a table without versions kept with them",
			func(b *stream.Builder) text {
				return table.Materialize(table.From(b, texts, "t", store.OnDemand()), "m", withVersions(1000))
			},
			"a=x1@100 a=x3@300 a=o2@200 a@250 a=x4@100 b=x@1250 a=o9@250"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) { stream.To(table.ToStream(tt.f(b)), results) })
			send(d, texts, updates...)
			assert.Equal(t, tt.want, taken(d, results))
			assert.Equal(t, 1, d.Dropped()["record without key"])
		})
	}
}

func TestVersions_ReadAsOfATime(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " partitions"), func(t *testing.T) {
			b := stream.NewBuilder()
			tab := table.From(b, texts, "t", withVersions(1000))
			mapped := table.MapValues(table.Filter(tab, startsWithX), func(v string) string { return v + "!" })
			plus := func(v, row string, ok bool) string { return fmt.Sprint(v, "+", row, ok) }
			stream.To(join.StreamTableLeft(stream.From(b, numberTexts), mapped, "j", plus), results)
			top, err := b.Build()
			require.NoError(t, err)
			d := testdriver.New(t, top, testdriver.Partitions(n))
			send(d, texts, "a=x1@100", "a=x3@300", "a=o2@200", "b=x1@100")
			check := func(name string) {
				send(d, numberTexts, "a=99@99", "a=100@100", "a=250@250", "a=300@300", "b=5000@5000")
				assert.Equal(t, "a=99+false@99 a=100+x1!true@100 a=250+false@250 a=300+x3!true@300 b=5000+x1!true@5000", taken(d, results), name)
				s := table.VersionedStore(tab).In(d)
				v, ok, err := s.AsOf("a", time.UnixMilli(250))
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, store.VersionRow[string]{Value: "o2", From: time.UnixMilli(200), To: time.UnixMilli(300)}, v)
			}
			check("at once")
			d.Restart()
			check("restored")
			d.Wipe()
			check("on another machine")

			send(d, texts, "a=x5@2000", "a=late@999")
			assert.Equal(t, 1, d.Dropped()["older than what its store keeps"])
			send(d, numberTexts, "a=300@300", "a=1999@1999", "a=2000@2000")
			assert.Equal(t, "a=300+false@300 a=1999+x3!true@1999 a=2000+x5!true@2000", taken(d, results), "history ends a second before the newest update")
		})
	}
}

var numberTexts = stream.NewTopic("number-texts", serde.String, serde.String)

func TestVersions_Mistakes(t *testing.T) {
	for want, f := range map[string]func(b *stream.Builder){
		"store.Versions excludes store.OnDemand": func(b *stream.Builder) {
			table.From(b, texts, "t", withVersions(1), store.OnDemand())
		},
		"store.Versions excludes store.OnDemand, store.UntilCommit and store.SourceIsChangelog": func(b *stream.Builder) {
			table.From(b, texts, "t", withVersions(1), store.SourceIsChangelog())
		},
		"store.Versions has a history of 0s":               func(b *stream.Builder) { table.From(b, texts, "t", store.Versions(0)) },
		"store.Versions has a history of 1ns, which is no": func(b *stream.Builder) { table.From(b, texts, "t", store.Versions(1)) },
		"store.Versions is given twice: 1ms and 2ms":       func(b *stream.Builder) { table.From(b, texts, "t", withVersions(1), withVersions(2)) },
		"option store.Versions does not apply here":        func(b *stream.Builder) { table.Count(stream.GroupByKey(stream.From(b, texts)), "n", withVersions(1)) },
		"has a store of another kind; refer to it with table.VersionedStore": func(b *stream.Builder) {
			tab := table.From(b, texts, "t", withVersions(1))
			stream.Process(stream.From(b, numberTexts), "p", func(*stream.Context[string, string]) (func(record) error, error) { return nil, nil }, tab.Store())
		},
		"has a store of another kind; refer to it with KTable.Store": func(b *stream.Builder) {
			tab := table.From(b, texts, "t")
			stream.Process(stream.From(b, numberTexts), "p", func(*stream.Context[string, string]) (func(record) error, error) { return nil, nil }, table.VersionedStore(tab))
		},
	} {
		b := stream.NewBuilder()
		f(b)
		_, err := b.Build()
		require.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "versions_test.go:")
	}
}

func ExampleVersionedStore() {
	b := stream.NewBuilder()
	prices := table.From(b, texts, "prices", store.Versions(24*time.Hour))
	d := run(b)
	in := testdriver.Input(d, texts)
	in.At(time.UnixMilli(1000)).Send("pear", "3")
	in.At(time.UnixMilli(5000)).Send("pear", "5")
	v, _, err := table.VersionedStore(prices).In(d).AsOf("pear", time.UnixMilli(4999))
	fmt.Println(v.Value, v.To.UnixMilli(), err)
	// Output: 3 5000 <nil>
}

func TestVersions_OfAnAggregation(t *testing.T) {
	b := stream.NewBuilder()
	n := table.Materialize(table.Count(stream.GroupByKey(stream.From(b, texts)), "n"), "versions", withVersions(1000))
	stream.To(join.StreamTable(stream.From(b, numberTexts), n, "j", func(_ string, n int64) int64 { return n }), sums)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	send(d, texts, "a=@10", "a=@20", "a=@30")
	send(d, numberTexts, "a=@9", "a=@10", "a=@29", "a=@30")
	assert.Equal(t, "a=1@10 a=2@29 a=3@30", taken(d, sums))
}
