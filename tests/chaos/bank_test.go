package chaos

import (
	"iter"
	"time"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// account is a row of the topic accounts. The owner of an account never changes.
type account struct {
	Owner    string
	Revision int
}

// transfer is a record of the topic transfers, whose key is the account From.
type transfer struct {
	ID       string
	From, To string
	Amount   int64
	Round    int
}

// booking is a transfer with the row of its account From.
type booking struct {
	transfer
	Account account
}

// entry is one half of a transfer. The amounts of both add up to nothing.
type entry struct {
	ID     string
	Amount int64
	Round  int
}

// balance is what an account has, with the entries of the last round in which it had any.
type balance struct {
	Balance int64
	Entries int64          // all of them
	Round   int            // of the last entry
	Seen    map[string]int // how often each entry of Round was counted
	Late    int            // entries of a round before Round
	Last    entry
}

const (
	opening  = 1000 // what each account has at first
	accounts = 24
	parts    = 4 // partitions of all topics

	// The names of the application and its parts, of which Kafka has topics.
	application  = "bank"
	entriesTopic = application + "-entries-repartition"
	balancesLog  = application + "-balances-changelog"
	accountsLog  = application + "-accounts-changelog"

	halfOut, halfIn = "-out", "-in" // the ids of a transfer's entries end in these

	roundTime   = 100 * time.Second
	longestLoad = 20 * time.Second // the times of a round's records are less after its beginning
)

// A round begins roundTime after the one before, so that its first record closes all windows of that: its longestLoad and
// the grace period are less.
var perSecond = window.Tumbling(time.Second).Grace(time.Minute)

var (
	accountsIn  = stream.NewTopic("accounts", serde.String, serde.JSON[account]())
	transfersIn = stream.NewTopic("transfers", serde.String, serde.JSON[transfer]())
	journal     = stream.NewTopic("journal", serde.String, serde.JSON[booking]())
	balances    = stream.NewTopic("balances", serde.String, serde.JSON[balance]())
	activity    = stream.NewTopic("activity", window.TimeKey(serde.String, perSecond), serde.JSON[map[string]int]())
)

// bank joins transfers with accounts, and makes two entries of each, which go through a repartition topic to their accounts. There they
// are added up, and counted in windows, whose final results are written when they are closed.
func bank() (*topology.Topology, error) {
	b := stream.NewBuilder()
	rows := table.From(b, accountsIn, "accounts")
	booked := join.StreamTable(stream.From(b, transfersIn), rows, "booked", func(t transfer, a account) booking { return booking{t, a} })
	stream.To(booked, journal)
	entries := stream.Repartition(stream.FlatMap(booked, halves).WithSerdes(serde.String, serde.JSON[entry]()), "entries")
	byAccount := stream.GroupByKey(entries)
	totals := table.Aggregate(byAccount, "balances", func() balance { return balance{Balance: opening} }, addEntry)
	stream.To(table.ToStream(totals.WithSerdes(serde.String, serde.JSON[balance]())), balances)
	counts := table.AggregateWindows(byAccount, perSecond, "activity", func() map[string]int { return map[string]int{} },
		func(_ string, e entry, seen map[string]int) map[string]int { seen[e.ID]++; return seen })
	counts = counts.WithSerdes(window.TimeKey(serde.String, perSecond), serde.JSON[map[string]int]())
	final := table.SuppressUntilClose(counts, "final-activity", table.Unbounded())
	stream.To(table.ToStream(final), activity)
	return b.Build()
}

func halves(_ string, b booking) iter.Seq2[string, entry] {
	return func(yield func(string, entry) bool) {
		_ = yield(b.From, entry{b.ID + halfOut, -b.Amount, b.Round}) && yield(b.To, entry{b.ID + halfIn, b.Amount, b.Round})
	}
}

func addEntry(_ string, e entry, b balance) balance {
	switch {
	case e.Round < b.Round:
		b.Late++
	case e.Round > b.Round || b.Seen == nil:
		b.Round, b.Seen = e.Round, map[string]int{}
	}
	if e.Round == b.Round {
		b.Seen[e.ID]++
	}
	b.Balance += e.Amount
	b.Entries++
	b.Last = e
	return b
}
