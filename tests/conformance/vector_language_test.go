package conformance

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// The notation of the vectors, in Go.

type (
	texts = stream.KStream[string, string]
	rows  = table.KTable[string, string]
	rec   = stream.Record[string, string]
	ctx   = stream.Context[string, string]
)

// null is what a fold returns for null: DeleteWhen finds it.
const null = "\x00null"

func isNull(_, v string) bool { return v == null }

func topic(name string) stream.Topic[string, string] {
	return stream.NewTopic(name, serde.String, serde.String)
}

func from(b *stream.Builder, names ...string) texts {
	topics := make([]stream.Topic[string, string], len(names))
	for i, n := range names {
		topics[i] = topic(n)
	}
	return stream.From(b, topics...)
}

func to(s texts, name string) { stream.To(s, topic(name)) }

// toNumbers is toStream().mapValues(dec).to(name).
func toNumbers(t table.KTable[string, int64], name string) {
	to(stream.MapValues(table.ToStream(t), dec), name)
}

func dec(n int64) string { return strconv.FormatInt(n, 10) }

func concat(agg, v string) string { return agg + v }

func str(v string, absent bool) string {
	if absent {
		return "null"
	}
	return v
}

func value(r rec) string { return str(r.Value, r.Tombstone) }

// mapTexts is mapValues with a function that is called for null as well.
func mapTexts(s texts, f func(v string) string) texts {
	return stream.MapRecordValues(s, func(r rec) (string, bool) { return f(value(r)), true })
}

// selectKey is selectKey with a function that may return null.
func selectKey(s texts, f func(r rec) (string, bool)) texts {
	return stream.MapRecords(s, func(r rec) rec {
		k, ok := f(r)
		if !ok {
			return r.Keyless()
		}
		return stream.WithKey(r, k)
	})
}

func byValue(r rec) (string, bool) { return r.Value, !r.Tombstone }

func firstChar(r rec) (string, bool) {
	if r.Tombstone || r.Value == "" {
		return "", false
	}
	for _, c := range r.Value {
		return string(c), true
	}
	return "", false
}

// tokens splits at commas.
func tokens(v string) iter.Seq[string] { return strings.SplitSeq(v, ",") }

func startsWithX(_, v string) bool { return strings.HasPrefix(v, "x") }

// orNull is the text that a joiner writes for a row that may be absent.
func orNull(v, row string, ok bool) string { return v + "+" + str(row, !ok) }

func plus(v, row string) string { return v + "+" + row }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func at(prefix string, t time.Time) string { return fmt.Sprint(prefix, t.UnixMilli()) }
