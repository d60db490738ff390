package conformance

import (
	"strconv"
	"strings"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

var aggregations = map[string]program{
	"count": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		toNumbers(table.Count(stream.GroupByKey(from(b, "in")), "counts"), "out")
	}},
	"aggregate-concatenate": {build: func(b *stream.Builder) {
		to(table.ToStream(table.Aggregate(stream.GroupByKey(from(b, "in")), "agg", table.Zero, append3)), "out")
	}},
	"aggregate-returning-null": {build: func(b *stream.Builder) {
		t := table.Aggregate(stream.GroupByKey(from(b, "in")), "agg", table.Zero, func(k, v, agg string) string { return nullAtDel(agg, v) })
		to(table.ToStream(t.DeleteWhen(isNull)), "out")
	}},
	"reduce-concatenate": {build: func(b *stream.Builder) {
		to(table.ToStream(table.Reduce(stream.GroupByKey(from(b, "in")), "red", concat)), "out")
	}},
	"reduce-keep-latest": {build: func(b *stream.Builder) {
		to(table.ToStream(table.Reduce(stream.GroupByKey(from(b, "in")), "last", func(_, v string) string { return v })), "out")
	}},
	"reduce-returning-null": {build: reduceReturningNull},
	"aggregate-sum-in-memory": {numbers: []string{"sums"}, build: func(b *stream.Builder) {
		toNumbers(table.Aggregate(stream.GroupByKey(from(b, "in")), "sums", table.Zero, func(_, v string, sum int64) int64 {
			n, _ := strconv.ParseInt(v, 10, 64)
			return sum + n
		}, store.InMemory()), "out")
	}},
	"reduce-of-flat-map-values": {build: func(b *stream.Builder) {
		s := stream.FlatMapRecordValues(from(b, "in"), tokensOrNone)
		to(table.ToStream(table.Reduce(stream.GroupByKey(s), "red", concat)), "out")
	}},
	"reduce-of-flat-map-values-cached": {build: func(b *stream.Builder) {
		s := stream.FlatMapRecordValues(from(b, "in"), tokensOrNone)
		to(table.ToStream(table.Reduce(stream.GroupByKey(s), "red", concat, store.UntilCommit())), "out")
	}},
	"count-by-selected-key": {build: func(b *stream.Builder) {
		s := selectKey(from(b, "in"), byValue)
		toNumbers(table.Count(stream.GroupByKey(s), "KSTREAM-AGGREGATE-STATE-STORE-0000000002"), "out")
	}},
	"group-by-value-count": {numbers: []string{"value-counts"}, build: func(b *stream.Builder) {
		g := stream.GroupBy(from(b, "in"), func(_, v string) string { return v }).Named("by-value")
		toNumbers(table.Count(g, "value-counts"), "out")
	}},
	"map-values-count-without-repartition": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		s := stream.MapRecordValues(from(b, "in"), func(r rec) (string, bool) { return r.Value, !r.Tombstone && r.Value != "drop" })
		toNumbers(table.Count(stream.GroupByKey(s), "counts"), "out")
	}},
	"two-aggregations-of-one-grouping": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		g := stream.GroupByKey(from(b, "in"))
		to(stream.MapValues(table.ToStream(table.Count(g, "counts")), func(n int64) string { return "c=" + dec(n) }), "out")
		to(stream.MapValues(table.ToStream(table.Reduce(g, "red", concat)), func(v string) string { return "r=" + v }), "out")
	}},
	"count-of-merged-streams": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		l, r := from(b, "left"), selectKey(from(b, "right"), byValue)
		toNumbers(table.Count(stream.GroupByKey(stream.Merge(l, r)).Named("merged"), "counts"), "out")
	}},
	"shared-key-change-unoptimized": {numbers: []string{"cs"}, build: sharedKeyChange},
	"shared-key-change-optimized":   {builder: []stream.BuilderOption{stream.MergeRepartitions()}, numbers: []string{"cs"}, build: sharedKeyChange},
	"wire-key-value-changelog":      {build: reduceReturningNull},
}

func append3(_, v, agg string) string { return agg + v }

// nullAtDel is concat that returns null at "del".
func nullAtDel(agg, v string) string {
	if v == "del" {
		return null
	}
	return strings.TrimPrefix(agg, null) + v
}

func reduceReturningNull(b *stream.Builder) {
	to(table.ToStream(table.Reduce(stream.GroupByKey(from(b, "in")), "red", nullAtDel).DeleteWhen(isNull)), "out")
}

func sharedKeyChange(b *stream.Builder) {
	s := selectKey(from(b, "in"), byValue).Named("rekey")
	toNumbers(table.Count(stream.GroupByKey(s), "cs"), "counts")
	to(table.ToStream(table.Reduce(stream.GroupByKey(s).Named("red"), "red-store", concat)), "reduced")
	to(join.StreamTableLeft(s, table.From(b, topic("table"), "table-rows"), "lj", orNull), "joined")
}
