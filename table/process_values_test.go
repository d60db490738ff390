package table_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

type valueFunc = func(k, v string, row bool) (string, bool, error)

var errBad = errors.New("bad")

// bracketed puts values in brackets; "gone" is deleted, "bad" fails, and a deletion becomes a row.
func bracketed(*topology.Task) (valueFunc, error) {
	return func(k, v string, row bool) (string, bool, error) {
		if v == "bad" {
			return "", false, errBad
		}
		return fmt.Sprintf("%s[%s %v]", k, v, row), v != "gone", nil
	}, nil
}

func TestProcessValues(t *testing.T) {
	in := []string{"a=x@1", "a=y@2", "a=gone@3", "a=bad@4", "a@5", "=x@6"}
	for _, tt := range []struct {
		name string
		f    func(text) text
		want string
	}{
		{"it sees deletions and makes them", func(p text) text { return p }, "a=a[x true]@1 a=a[y true]@2 a@3 a=a[ false]@5"},
		{"a filter that wants old values", func(p text) text {
			return table.Filter(p, func(_, v string) bool { return v == "a[y true]" })
		}, "a=a[y true]@2 a@3"},
		{"kept in a store", func(p text) text { return table.Materialize(p, "kept") }, "a=a[x true]@1 a=a[y true]@2 a@3 a=a[ false]@5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) {
				p := table.ProcessValues(table.From(b, texts, "rows"), "p", bracketed).OnError(failure.Skip())
				stream.To(table.ToStream(tt.f(p)), results)
			})
			send(d, texts, in...)
			assert.Equal(t, tt.want, taken(d, results))
			assert.Equal(t, 1, d.Dropped()["record without key"])
			assert.Positive(t, d.Dropped()["function failed"])
		})
	}
}

func TestProcessValues_UsesStores(t *testing.T) {
	seen := store.NewKeyValue("seen", serde.String, serde.Int64)
	var starts int
	d := drive(t, func(b *stream.Builder) {
		numbered := table.ProcessValues(table.From(b, texts, "rows", store.OnDemand()), "numbered", func(task *topology.Task) (valueFunc, error) {
			starts++
			seen := seen.In(task)
			return func(k, v string, row bool) (string, bool, error) {
				n, _, err := seen.Get(v)
				if err != nil || !row {
					return "", false, err
				}
				return fmt.Sprint(v, n), true, seen.Put(v, n+1)
			}, nil
		}, seen)
		stream.To(table.ToStream(numbered), results)
		s := stream.From(b, stream.NewTopic("asks", serde.String, serde.String))
		stream.To(join.StreamTableLeft(s, numbered, "j", func(_, row string, ok bool) string { return fmt.Sprint(row, ok) }), results)
	})
	assert.Equal(t, 2, starts, "one for the changes and one for the join")
	send(d, texts, "a=x@1", "b=x@2")
	asks := stream.NewTopic("asks", serde.String, serde.String)
	send(d, asks, "a=?@3", "c=?@4")
	d.Restart()
	send(d, texts, "a@5")
	send(d, asks, "a=?@6", "b=?@7")
	assert.Equal(t, "a=x0@1 b=x1@2 a=x2true@3 c=false@4 a@5 a=false@6 b=x3true@7", taken(d, results))
}

func TestProcessValues_IsRetriedByItsPolicy(t *testing.T) {
	left := 2
	d := drive(t, func(b *stream.Builder) {
		p := table.ProcessValues(table.From(b, texts, "rows"), "p", func(*topology.Task) (valueFunc, error) {
			return func(_, v string, _ bool) (string, bool, error) {
				if left--; left >= 0 {
					return "", false, errBad
				}
				return v, true, nil
			}, nil
		}).OnError(failure.Retry(3, time.Millisecond, time.Millisecond, failure.Stop()))
		stream.To(table.ToStream(p), results)
	})
	send(d, texts, "a=x@1")
	assert.Equal(t, "a=x@1", taken(d, results))
}

func TestProcessValues_Mistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"no function", func(b *stream.Builder) {
			table.ProcessValues[string, string, string](table.From(b, texts, "rows"), "p", nil)
		}, "its function is nil"},
		{"no name", func(b *stream.Builder) { table.ProcessValues(table.From(b, texts, "rows"), "", bracketed) }, "its name is empty"},
		{"an output", func(b *stream.Builder) {
			table.ProcessValues(table.From(b, texts, "rows"), "p", bracketed, stream.NewOutput("o", serde.String, serde.String))
		}, "not a reference of package store"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "process_values_test.go:")
		})
	}
	b := stream.NewBuilder()
	table.ProcessValues(table.From(b, texts, "rows"), "p", func(*topology.Task) (valueFunc, error) { return nil, errBad })
	top, err := b.Build()
	require.NoError(t, err)
	var said string
	testdriver.New(fatal{t, &said}, top)
	assert.Contains(t, said, "bad")
}
