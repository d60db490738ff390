package table_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// Two customers whose names are not UTF-8 must not become one row. The policy gets their records
// instead.
func TestJSONKey_InvalidUTF8IsNoRow(t *testing.T) {
	type customer struct{ Country, Name string }
	events := stream.NewTopic("events", serde.None, serde.String)
	customers, counts := serde.JSON[customer](), stream.NewTopic("counts", serde.JSON[customer](), serde.Int64)
	b := stream.NewBuilder()
	byName := stream.GroupBy(stream.From(b, events), func(_ serde.Void, name string) customer { return customer{"de", name} })
	stream.To(table.ToStream(table.Count(byName.WithSerdes(customers, serde.String), "counts")), counts)
	top, err := b.Build()
	require.NoError(t, err)

	d := testdriver.New(t, top, testdriver.OnProduceError(failure.Skip()))
	for _, name := range []string{"Müller", "M\xfcller", "M\xf6ller", "M\ufffdller", "Müller"} {
		testdriver.Input(d, events).SendBytes(nil, []byte(name))
	}
	assert.Equal(t, map[customer]int64{{"de", "Müller"}: 2, {"de", "M\ufffdller"}: 1}, testdriver.Table(testdriver.Output(d, counts)))
	require.Len(t, d.Failures(), 2)
	assert.ErrorContains(t, d.Failures()[0].Err, "is not UTF-8")
}
