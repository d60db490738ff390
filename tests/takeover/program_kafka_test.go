//go:build kafka

package takeover

import (
	"strings"
	"time"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// The durations of the program, the same in java/Topologies.java.
const (
	windowSize = 45 * time.Second
	grace      = 60 * time.Second
	gap        = 40 * time.Second // of sessions, and between partners of a join
	// By default a session is stored for a gap longer here, so that a late record finds the one before it (docs/differences.md).
	retention = time.Hour
)

// null is how Java concatenates what is not there.
const null = "null"

// program is that of java/Topologies.java, part by part. The names of the topics that it reads begin with in, those that it writes with out.
func program(in, out string) (*topology.Topology, error) {
	p := parts{stream.NewBuilder(), in, out}
	p.words()
	p.clicks()
	p.visits()
	p.customers()
	p.prices()
	p.pairs()
	p.orders()
	return p.b.Build()
}

type parts struct {
	b       *stream.Builder
	in, out string
}

func (p parts) strings(name string) stream.Topic[string, string] {
	return stream.NewTopic(p.in+name, serde.String, serde.String)
}

func (p parts) stream(name string) stream.KStream[string, string] {
	return stream.From(p.b, p.strings(name))
}

func to[K, V any](p parts, s stream.KStream[K, V], name string, key serde.Serde[K], value serde.Serde[V]) {
	stream.To(s, stream.NewTopic(p.out+name, key, value))
}

func (p parts) words() {
	byWord := stream.GroupBy(p.stream("words"), func(_, v string) string { return v }).Named("by-word")
	to(p, table.ToStream(table.Count(byWord, "word-counts")), "word-counts", serde.String, serde.Int64)
}

func (p parts) clicks() {
	w := window.Tumbling(windowSize).Grace(grace)
	n := table.CountWindows(stream.GroupByKey(p.stream("clicks")), w, "click-windows")
	key := window.TimeKey(serde.String, w)
	to(p, table.ToStream(n), "click-windows", key, serde.Int64)
	closed := table.SuppressUntilClose(n, "click-finals-store", table.Unbounded())
	to(p, table.ToStream(closed), "click-finals", key, serde.Int64)
}

func (p parts) visits() {
	n := table.CountWindows(stream.GroupByKey(p.stream("visits")), window.Sessions(gap).Grace(grace), "visit-sessions",
		store.Retention(retention))
	to(p, table.ToStream(n), "visit-sessions", window.SessionKey(serde.String), serde.Int64)
}

func (p parts) customers() {
	customers := table.From(p.b, p.strings("customers"), "customers-by-id")
	to(p, join.StreamTableLeft(p.stream("purchases"), customers, "purchase", withRow), "purchases-joined", serde.String, serde.String)
	byCity := table.GroupBy(customers, func(id, city string) (string, string, bool) { return city, id, true }).Named("by-city")
	to(p, table.ToStream(table.CountRows(byCity, "city-counts")), "city-counts", serde.String, serde.Int64)
}

func (p parts) prices() {
	prices := table.From(p.b, p.strings("prices"), "price-versions", store.Versions(time.Hour))
	sales := p.stream("sales")
	to(p, join.StreamTableLeft(sales, prices, "priced", withRow), "sales-priced", serde.String, serde.String)
	to(p, join.StreamTableLeft(sales, prices, "settled", withRow, join.Grace(grace)), "sales-settled", serde.String, serde.String)
}

func (p parts) pairs() {
	lefts, rights := p.stream("lefts"), p.stream("rights")
	w := window.Within(gap).Grace(grace)
	to(p, join.StreamStream(lefts, rights, w, "inner", both), "pairs-inner", serde.String, serde.String)
	to(p, join.StreamStreamLeft(lefts, rights, w, "left", withRow), "pairs-left", serde.String, serde.String)
	to(p, join.StreamStreamOuter(lefts, rights, w, "outer", func(l, r join.Maybe[string]) string {
		if !l.OK {
			l.V = null
		}
		return withRow(l.V, r.V, r.OK)
	}), "pairs-outer", serde.String, serde.String)
}

func (p parts) orders() {
	orders := table.From(p.b, p.strings("orders"), "orders-by-id")
	shops := table.From(p.b, p.strings("shops"), "shops-by-id")
	to(p, table.ToStream(join.ForeignKey(orders, shops, "sold", shop, both)), "orders-sold", serde.String, serde.String)
	to(p, table.ToStream(join.ForeignKeyLeft(orders, shops, "all-sold", shop, withRow)), "orders-all-sold", serde.String, serde.String)
}

// shop is what an order refers to: its value is the shop, ':', and what is its own.
func shop(_, order string) (string, bool) {
	s, _, _ := strings.Cut(order, ":")
	return s, true
}

func both(l, r string) string { return l + "/" + r }

func withRow(l, r string, ok bool) string {
	if !ok {
		r = null
	}
	return both(l, r)
}
