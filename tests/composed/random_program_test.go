package composed

import (
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

type (
	kstream = stream.KStream[string, string]
	ktable  = table.KTable[string, string]
	record  = stream.Record[string, string]
)

// node is one operator of a program: its kind, its inputs among the nodes before it, and a number that its functions depend on.
type node struct {
	op  string
	in  []int
	arg int
	traits
}

// traits say what a handle is, and which ways of running the program it allows to compare.
type traits struct {
	table   bool
	kept    bool // a table that has its rows in a store
	sources int  // bit set of the inputs that it follows from
	// fans says that several records may follow from one, racy that results depend on the order in which records of different keys, or
	// of several topics, come, and timed that they depend on stream time.
	fans, racy, timed bool
	// begins says that results depend on which tables keep stores, as in Kafka Streams. An aggregation sends the value that it begins with as
	// the old value of a row that was not there, which a step with a store of its own does not see; a stream sees what is said twice.
	begins bool
	// most is how many records may follow from one, roughly.
	most int
}

// operator is a kind of node. needs are its inputs: "s" a stream, "t" a table.
type operator struct {
	name, needs string
	traits      func(in []traits) traits
	rekeys      bool
}

var operators = []operator{
	{"filter", "s", same, false}, {"map", "s", same, false}, {"peek-records", "s", same, false},
	{"select-key", "s", same, true}, {"flat-map", "s", fanning, false}, {"branch", "s", same, false},
	{"repartition", "s", same, false}, {"merge", "ss", same, false},
	{"to-table", "s", asTable, false}, {"to-table-on-demand", "s", unkept, false},
	{"reduce", "s", asTable, false}, {"aggregate", "s", beginning, false}, {"count", "s", beginning, false}, {"group-by", "s", beginning, true},
	{"cogroup", "ss", beginning, false},
	{"hopping", "s", timing, false}, {"tumbling-on-close", "s", timing, false}, {"sessions", "s", timing, false},
	{"stream-table", "st", same, false}, {"stream-table-left", "st", same, false},
	{"stream-stream", "ss", matching, false}, {"stream-stream-left", "ss", timing, false}, {"stream-stream-outer", "ss", timing, false},
	{"table-filter", "t", unkept, false}, {"table-filter-not", "t", unkept, false}, {"table-map", "t", unkept, false},
	{"materialize", "t", asTable, false}, {"stored-filter", "t", storing, false}, {"stored-filter-not", "t", storing, false},
	{"group-rows", "t", regrouping, true}, {"count-rows", "t", regrouping, true},
	{"table-table", "tt", unkept, false}, {"table-table-left", "tt", unkept, false}, {"table-table-outer", "tt", unkept, false},
	{"foreign-key", "tt", foreign, true}, {"foreign-key-left", "tt", foreign, true},
	{"suppress", "t", suppressing, false}, {"to-stream", "t", asStream, false},
}

func all(in []traits) (t traits) {
	for _, x := range in {
		// What both sides follow from may come to them in another order when topics lie between.
		t.racy = t.racy || x.racy || t.sources&x.sources != 0
		t.sources |= x.sources
		t.most += x.most
		t.fans, t.timed, t.begins = t.fans || x.fans, t.timed || x.timed, t.begins || x.begins
	}
	return t
}

func same(in []traits) traits { return all(in) }

func fanning(in []traits) traits {
	t := all(in)
	t.fans, t.most = true, 2*t.most
	return t
}

// matching joins streams whose windows are longer than a history: only results of two records, which no stream time decides about.
func matching(in []traits) traits {
	t := all(in)
	t.fans, t.most = true, 10*in[0].most*in[1].most
	return t
}

func timing(in []traits) traits {
	t := all(in)
	t.timed, t.fans, t.most = true, true, 4*t.most
	return t
}

func asStream(in []traits) traits {
	t := all(in)
	t.table, t.kept = false, false
	t.begins = t.begins || !in[0].kept // how often it says what it has said before depends on stores
	return t
}

func unkept(in []traits) traits {
	t := all(in)
	t.table = true
	return t
}

func asTable(in []traits) traits {
	t := unkept(in)
	t.kept = true
	return t
}

func beginning(in []traits) traits {
	t := asTable(in)
	t.begins = true
	return t
}

// storing keeps the result of a filter. If the table before keeps no rows, deletions of rows that are not there come out.
func storing(in []traits) traits {
	t := unkept(in)
	t.kept = in[0].kept
	return t
}

func regrouping(in []traits) traits {
	t := beginning(in)
	t.fans, t.most = true, 2*t.most
	return t
}

func foreign(in []traits) traits {
	t := unkept(in)
	t.fans, t.most = true, 4*t.most
	return t
}

func suppressing(in []traits) traits {
	t := unkept(in)
	t.timed = true
	return t
}

// program is a composed program. Nodes 0 to len(inputs)-1 are its sources.
type program struct {
	inputs []stream.Topic[string, string]
	nodes  []node
}

// compose makes a program of 2 to 7 operators. apart has operators with two inputs get such as follow from different topics only.
func compose(r *rand.Rand, apart bool) program {
	var p program
	for i := range 2 + r.IntN(2) {
		p.inputs = append(p.inputs, stream.NewTopic(fmt.Sprint("in", i), serde.String, serde.String))
		n := node{op: "stream", traits: traits{sources: 1 << i, most: 1}, arg: i}
		switch r.IntN(3) {
		case 0:
			n.op, n.table, n.kept = "table", true, true
		case 1:
			n.op, n.table = "table-on-demand", r.IntN(2) == 0
			if !n.table {
				n.op = "stream"
			}
		}
		p.nodes = append(p.nodes, n)
	}
	for want := len(p.nodes) + 2 + r.IntN(6); len(p.nodes) < want; {
		o := operators[r.IntN(len(operators))]
		if n, ok := p.choose(r, o, apart); ok {
			p.nodes = append(p.nodes, n)
		}
	}
	return p
}

func (p program) choose(r *rand.Rand, o operator, apart bool) (n node, ok bool) {
	n = node{op: o.name, arg: r.IntN(100)}
	var in []traits
	used := 0
	for _, need := range o.needs {
		var may []int
		for i, x := range p.nodes {
			if x.table == (need == 't') && (!apart || x.sources&used == 0) {
				may = append(may, i)
			}
		}
		if len(may) == 0 {
			return n, false
		}
		i := may[max(r.IntN(len(may)), r.IntN(len(may)))] // rather the newer ones: longer chains
		n.in, in, used = append(n.in, i), append(in, p.nodes[i].traits), used|p.nodes[i].sources
	}
	if n.traits = o.traits(in); n.most > 100 {
		return n, false
	}
	if o.rekeys && n.fans && slices.ContainsFunc(in, func(t traits) bool { return t.fans }) {
		n.racy = true // records of several tasks meet at one key
	}
	return n, true
}

// String prints the program, an operator a line.
func (p program) String() string {
	var b strings.Builder
	for i, n := range p.nodes {
		fmt.Fprintf(&b, "  %d: %s%v /%d", i, n.op, n.in, n.arg)
		for what, yes := range map[string]bool{"racy": n.racy, "timed": n.timed, "fans": n.fans, "begins": n.begins} {
			if yes {
				b.WriteString(" " + what)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// joinsNoKey reports whether a left or outer join of streams follows from node i: records without a key have results then.
func (p program) joinsNoKey(i int) bool {
	for j, n := range p.nodes {
		if !slices.Contains(n.in, i) {
			continue
		}
		if n.op == "stream-table-left" || n.op == "stream-stream-left" || n.op == "stream-stream-outer" || p.joinsNoKey(j) {
			return true
		}
	}
	return false
}

// way is a way to run a program.
type way struct {
	partitions  int
	merged      bool // repartition topics
	repartition bool // behind each input that is read as a stream
	stored      bool // each table is kept in a store
	crashes     bool // restarts and lost disks
}

// build makes the program's topology. Each handle that nothing follows from is written to a topic, as are all results of stored filters.
func (p program) build(b *stream.Builder, w way) (outs []string) {
	streams, tables := map[int]kstream{}, map[int]ktable{}
	for i, n := range p.nodes {
		name := fmt.Sprint("n", i)
		x := maker{n, name, b}
		switch {
		case i < len(p.inputs):
			switch n.op {
			case "table":
				tables[i] = table.From(b, p.inputs[i], name)
			case "table-on-demand":
				tables[i] = table.From(b, p.inputs[i], name, store.OnDemand())
			default:
				streams[i] = stream.From(b, p.inputs[i])
				if w.repartition {
					streams[i] = stream.Repartition(streams[i], name+"-rp")
				}
			}
		case n.table:
			tables[i] = x.table(streams, tables)
		default:
			streams[i] = x.stream(streams, tables)
		}
		if n.table && w.stored {
			tables[i] = table.Materialize(tables[i], name+"-stored")
		}
	}
	for i, n := range p.nodes {
		if slices.ContainsFunc(p.nodes, func(x node) bool { return slices.Contains(x.in, i) }) && !p.audited(i) {
			continue
		}
		out := stream.NewTopic(fmt.Sprint("out", i), serde.String, serde.String)
		outs = append(outs, out.Name())
		s := streams[i]
		if n.table {
			s = table.ToStream(tables[i])
		}
		stream.To(s, out)
	}
	return outs
}

// audited reports whether node i keeps the rows of a filter of a table that is kept itself: it sends no deletion of a row that is not there.
func (p program) audited(i int) bool {
	return strings.HasPrefix(p.nodes[i].op, "stored-filter") && p.nodes[p.nodes[i].in[0]].kept
}

// maker makes the handle of a node.
type maker struct {
	node
	name string
	b    *stream.Builder
}

// value is a value that follows from others.
func (m maker) value(of ...string) string { return strconv.Itoa(m.number(of...) % 1000) }

func (m maker) number(of ...string) int {
	h := fnv.New32a()
	fmt.Fprint(h, m.arg, of)
	return int(h.Sum32() >> 8)
}

func (m maker) yes(v string) bool { return m.number(v)%3 != 0 }
func (m maker) key(v string) string {
	return fmt.Sprint("k", m.number(v)%4)
}

// add and remove are such that the order of records does not matter.
func add(agg, v string) string    { return sum(agg, v, 1) }
func remove(agg, v string) string { return sum(agg, v, -1) }

func sum(agg, v string, sign int) string {
	a, _ := strconv.Atoi(agg)
	n, _ := strconv.Atoi(v)
	return strconv.Itoa(((a+sign*n)%1000 + 1000) % 1000)
}

const ms = time.Millisecond

func (m maker) stream(streams map[int]kstream, tables map[int]ktable) kstream {
	s := streams[m.in[0]]
	switch m.op {
	case "filter":
		return stream.Filter(s, func(_, v string) bool { return m.yes(v) })
	case "map":
		return stream.MapValues(s, func(v string) string { return m.value(v) })
	case "peek-records":
		return stream.FilterRecords(s, func(r record) bool { return r.NoKey || r.Tombstone || m.yes(r.Key+r.Value) })
	case "select-key":
		return stream.SelectKey(s, func(_, v string) string { return m.key(v) })
	case "flat-map":
		return stream.FlatMapValues(s, func(v string) iter.Seq[string] { return slices.Values([]string{m.value(v, "a"), m.value(v, "b")}) })
	case "branch":
		return stream.Merge(stream.Filter(s, func(_, v string) bool { return m.yes(v) }), stream.MapValues(stream.FilterNot(s, func(_, v string) bool { return m.yes(v) }), func(v string) string { return m.value(v) }))
	case "repartition":
		return stream.Repartition(s, m.name)
	case "merge":
		return stream.Merge(s, streams[m.in[1]])
	case "hopping", "tumbling-on-close", "sessions":
		return m.windows(stream.GroupByKey(s))
	case "stream-table":
		return join.StreamTable(s, tables[m.in[1]], m.name, func(a, b string) string { return m.value(a, b) })
	case "stream-table-left":
		return join.StreamTableLeft(s, tables[m.in[1]], m.name, func(a, b string, ok bool) string { return m.value(a, b, fmt.Sprint(ok)) })
	case "stream-stream":
		return join.StreamStream(s, streams[m.in[1]], window.Within(time.Hour), m.name, func(a, b string) string { return m.value(a, b) })
	case "stream-stream-left":
		return join.StreamStreamLeft(s, streams[m.in[1]], window.Within(10*ms).Grace(5*ms), m.name, func(a, b string, ok bool) string { return m.value(a, b, fmt.Sprint(ok)) })
	case "stream-stream-outer":
		return join.StreamStreamOuter(s, streams[m.in[1]], window.Within(10*ms).Grace(5*ms), m.name, func(a, b join.Maybe[string]) string { return m.value(a.Or("none"), b.Or("none")) })
	case "to-stream":
		return table.ToStream(tables[m.in[0]])
	}
	panic(m.op)
}

func (m maker) windows(g stream.Grouped[string, string]) kstream {
	sums := func(_, v, agg string) string { return add(agg, v) }
	zero := func() string { return "0" }
	var t table.KTable[window.Key[string], string]
	switch m.op {
	case "hopping":
		t = table.AggregateWindows(g, window.Hopping(10*ms, 5*ms).Grace(5*ms), m.name, zero, sums)
	case "tumbling-on-close":
		t = table.AggregateWindows(g, window.Tumbling(10*ms).Grace(5*ms).OnClose(), m.name, zero, sums)
	default:
		merge := func(_, a, b string) string { return add(a, b) }
		t = table.AggregateSessions(g, window.Sessions(5*ms).Grace(5*ms), m.name, zero, sums, merge)
	}
	return stream.SelectKey(table.ToStream(t), func(k window.Key[string], _ string) string { return k.Key })
}

func (m maker) table(streams map[int]kstream, tables map[int]ktable) ktable {
	t, s := tables[m.in[0]], streams[m.in[0]]
	row := func(_, v string) bool { return m.yes(v) }
	group := func(k, v string) (string, string, bool) { return m.key(v + k), v, m.arg%5 > 0 || m.yes(v) }
	refers := func(_, v string) (string, bool) { return m.key(v), m.arg%2 == 0 || m.yes(v) }
	outer := func(a, b join.Maybe[string]) string { return m.value(a.Or("none"), b.Or("none")) }
	left := func(a, b string, ok bool) string { return m.value(a, b, fmt.Sprint(ok)) }
	both := func(a, b string) string { return m.value(a, b) }
	sums := func(_, v, agg string) string { return add(agg, v) }
	// The value that an aggregation starts with passes some filters, and others not.
	zero := func() string { return strconv.Itoa(m.arg % 7) }
	switch m.op {
	case "to-table":
		return table.ToTable(s, m.name)
	case "to-table-on-demand":
		return table.ToTable(s, m.name, store.OnDemand())
	case "reduce":
		return table.Reduce(stream.GroupByKey(s), m.name, add)
	case "aggregate":
		return table.Aggregate(stream.GroupByKey(s), m.name, zero, sums).DeleteWhen(func(_, v string) bool { return m.number(v)%11 == 0 })
	case "count":
		return table.MapValues(table.Count(stream.GroupByKey(s), m.name), func(n int64) string { return strconv.FormatInt(n, 10) })
	case "group-by":
		return table.Aggregate(stream.GroupBy(s, func(_, v string) string { return m.key(v) }), m.name, zero, sums)
	case "cogroup":
		c := table.Cogroup(table.Add(stream.GroupByKey(s).Named(m.name+"-l"), sums), table.Add(stream.GroupByKey(streams[m.in[1]]).Named(m.name+"-r"), sums))
		return table.AggregateCogroup(c, m.name, zero)
	case "table-filter":
		return table.Filter(t, row)
	case "table-filter-not":
		return table.FilterNot(t, row)
	case "table-map":
		return table.MapValues(t, func(v string) string { return m.value(v) })
	case "materialize":
		return table.Materialize(t, m.name)
	case "stored-filter":
		return table.Materialize(table.Filter(t, row), m.name)
	case "stored-filter-not":
		return table.Materialize(table.FilterNot(t, row), m.name)
	case "group-rows":
		return table.AggregateRows(table.GroupBy(t, group), m.name, zero, sums, func(_, v, agg string) string { return remove(agg, v) })
	case "count-rows":
		return table.MapValues(table.CountRows(table.GroupBy(t, group), m.name), func(n int64) string { return strconv.FormatInt(n, 10) })
	case "table-table":
		return join.TableTable(t, tables[m.in[1]], both)
	case "table-table-left":
		return join.TableTableLeft(t, tables[m.in[1]], left)
	case "table-table-outer":
		return join.TableTableOuter(t, tables[m.in[1]], outer)
	case "foreign-key":
		return join.ForeignKey(t, tables[m.in[1]], m.name, refers, both)
	case "foreign-key-left":
		return join.ForeignKeyLeft(t, tables[m.in[1]], m.name, refers, left)
	case "suppress":
		return table.SuppressFor(t, 10*ms, m.name, table.Unbounded())
	}
	panic(m.op)
}
