package join_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

func TestPanic_NamesItsStep(t *testing.T) {
	in := stream.NewTopic("in", serde.String, serde.String)
	rows := stream.NewTopic("rows", serde.String, serde.String)
	start := func(program func(s stream.KStream[string, string], r table.KTable[string, string])) *testdriver.Driver {
		b := stream.NewBuilder()
		program(stream.Peek(stream.From(b, in), func(stream.Record[string, string]) {}), table.From(b, rows, "rows"))
		top, err := b.Build()
		require.NoError(t, err)
		return testdriver.New(t, top)
	}
	r := stream.Record[string, string]{Key: "k", Value: "v"}

	d := start(func(s stream.KStream[string, string], _ table.KTable[string, string]) {
		table.Aggregate(stream.GroupByKey(s), "culprit", table.Zero, func(_, _, _ string) string { panic("boom") })
	})
	require.ErrorContains(t, testdriver.Input(d, in).SendErr(r), `"culprit"`)

	d = start(func(_ stream.KStream[string, string], rows table.KTable[string, string]) {
		table.MapValues(rows, func(string) string { panic("boom") }).Named("culprit")
	})
	require.ErrorContains(t, testdriver.Input(d, rows).SendErr(r), `"culprit"`)

	d = start(func(s stream.KStream[string, string], rows table.KTable[string, string]) {
		join.StreamTable(s, rows, "culprit", func(_, _ string) string { panic("boom") })
	})
	testdriver.Input(d, rows).Send("k", "v")
	require.ErrorContains(t, testdriver.Input(d, in).SendErr(r), `"culprit"`)
}
