package join_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

func versions(b *stream.Builder, history int64) ktable {
	return table.From(b, rows, "rows", store.Versions(ms(history)))
}

// patiently is a join with grace with a table that keeps versions.
func patiently(t *testing.T, grace int64, left bool, opts ...testdriver.Option) *testdriver.Driver {
	return drive(t, func(b *stream.Builder) { stream.To(graceful(b, versions(b, 1000), grace, left), joined) }, opts...)
}

func graceful(b *stream.Builder, t ktable, grace int64, outer bool) kstream {
	if outer {
		return join.StreamTableLeft(stream.From(b, left), t, "j", pairOrLeft, join.Grace(ms(grace)))
	}
	return join.StreamTable(stream.From(b, left), t, "j", pair, join.Grace(ms(grace)))
}

func TestGrace_RecordsWaitForLateRows(t *testing.T) {
	d := patiently(t, 10, false)
	send(d, "rows a=x@10", "left a=1@12", "left b=2@13", "rows a=y@11", "rows b=z@99")
	assert.Empty(t, taken(d), "rows of the table release nothing")
	send(d, "left a=3@22")
	assert.Equal(t, "a=1+y@12 left", taken(d))
	send(d, "left a=4@11")
	assert.Equal(t, "a=4+y@11 left", taken(d), "too late to wait")
	send(d, "left a=5@23")
	assert.Empty(t, taken(d), "an inner join drops what has no row")
	send(d, "left =6@99", "left a@99", "left c=7@24")
	assert.Empty(t, taken(d), "what is dropped moves no time")
	assert.Equal(t, map[string]int{"record without key": 1, "record without value": 1}, d.Dropped())
}

func TestGrace_LeftJoin(t *testing.T) {
	d := patiently(t, 10, true)
	send(d, "left a=1@12", "left =2@12", "left b=3@12")
	assert.Equal(t, "=2+none@12 left", taken(d), "a record without a key has nothing to wait for")
	send(d, "rows b=x@12", "left c=4@30")
	assert.Equal(t, "a=1+none@12 left, b=3+x@12 left", taken(d))
}

func TestGrace_ZeroWaitsForNothing(t *testing.T) {
	d := patiently(t, 0, false)
	send(d, "rows a=x@10", "left a=1@12", "left a=2@11")
	assert.Equal(t, "a=1+x@12 left, a=2+x@11 left", taken(d))
	assert.NotContains(t, d.Topics(), "testdriver-j-Buffer-changelog")
}

func TestGrace_BufferSurvivesARestart(t *testing.T) {
	d := patiently(t, 10, false, testdriver.Partitions(3))
	send(d, "left a=1@12", "left b=2@12", "left a=3@12")
	d.Restart()
	send(d, "rows a=x@10", "rows b=y@10", "left a=4@12", "left a=5@22", "left b=6@1")
	assert.Equal(t, "a=1+x@12 left, a=3+x@12 left, a=4+x@12 left", taken(d), "b is in another partition; 6 comes before any row")
	d.Restart()
	send(d, "left b=7@22")
	assert.Equal(t, "b=2+y@12 left", taken(d))
}

func TestGrace_Mistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"a table without versions", func(b *stream.Builder) { graceful(b, from(b), 10, false) }, "needs a table that keeps versions"},
		{"even with none", func(b *stream.Builder) { graceful(b, from(b), 0, true) }, "needs a table that keeps versions"},
		{"longer than the history", func(b *stream.Builder) { graceful(b, versions(b, 5), 10, false) }, "the table keeps versions for 5ms"},
		{"negative", func(b *stream.Builder) { graceful(b, versions(b, 5), -1, false) }, "must not be negative"},
		{"a part of a millisecond", func(b *stream.Builder) {
			join.StreamTable(stream.From(b, left), versions(b, 5), "j", pair, join.Grace(time.Microsecond))
		}, "not a whole number of milliseconds"},
		{"a century", func(b *stream.Builder) {
			join.StreamTable(stream.From(b, left), versions(b, 5), "j", pair, join.Grace(100*365*24*time.Hour))
		}, "longer than 50 years"},
		{"twice", func(b *stream.Builder) {
			join.StreamTable(stream.From(b, left), versions(b, 5), "j", pair, join.Grace(ms(1)), join.Grace(ms(2)))
		}, "given twice"},
		{"a zero option", func(b *stream.Builder) {
			join.StreamTable(stream.From(b, left), versions(b, 5), "j", pair, join.TableOption{})
		}, "option 1 is zero"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "grace_test.go:")
		})
	}
}
