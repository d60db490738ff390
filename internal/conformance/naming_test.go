package conformance

import (
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

var names = map[string]program{
	"same-topic-twice-one-source": {build: func(b *stream.Builder) {
		to(mapTexts(from(b, "in"), func(v string) string { return v + "1" }), "out")
		to(mapTexts(from(b, "in"), func(v string) string { return v + "2" }), "out")
	}},
	"reuse-source-topic-optimized": {build: func(b *stream.Builder) {
		toTexts(table.From(b, topic("in"), "t", store.SourceIsChangelog()), "out")
	}},
}

// refused are programs that Build must refuse.
var refused = map[string]func(b *stream.Builder){
	"topic-as-stream-and-table": func(b *stream.Builder) {
		from(b, "in")
		unnamed(b, "in")
	},
	"overlapping-topic-sets": func(b *stream.Builder) {
		from(b, "a", "b")
		from(b, "b", "c")
	},
	"duplicate-operator-name": func(b *stream.Builder) {
		all := func(_, _ string) bool { return true }
		to(stream.Filter(stream.Filter(from(b, "in"), all).Named("x"), all).Named("x"), "out")
	},
	"illegal-operator-name": func(b *stream.Builder) {
		to(stream.Filter(from(b, "in"), func(_, _ string) bool { return true }).Named("a b"), "out")
	},
	"join-window-ends-before-start": func(b *stream.Builder) {
		to(join.StreamStream(from(b, "left"), from(b, "right"), around(-11, 10, 0), "j", plus), "out")
	},
	"stream-table-join-grace-on-unversioned-table": func(b *stream.Builder) {
		to(join.StreamTable(from(b, "in"), unnamed(b, "table"), "j", plus, join.Grace(ms(10))), "out")
	},
	"stream-table-join-grace-longer-than-history": func(b *stream.Builder) {
		t := table.From(b, topic("table"), "vt", store.Versions(ms(5)))
		to(join.StreamTable(from(b, "in"), t, "j", plus, join.Grace(ms(10))), "out")
	},
	"illegal-store-name": func(b *stream.Builder) { toTexts(table.From(b, topic("in"), "a/b"), "out") },
}
