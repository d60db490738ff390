package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/window"
)

// oracle compares what the bank has written with what it should have written, which is computed from the inputs alone. It reads inputs, outputs and
// changelogs record by record, as a reader of what is committed has them. Round by round: when everything that a round has written to the inputs
// is processed, check has to find it in the outputs and in the tables; and the windows of the round before, which it has closed.
type oracle struct {
	exactly bool // exactly once: nothing may be there twice. At least once: what is there twice is counted.

	sent    map[int]map[string]*sent // by round and id
	booked  map[int]map[string]int
	counted map[int]map[string]int            // updates of balances, by round and id of the entry
	finals  map[int]map[string][]finalResult  // by round and window
	rows    map[string]balance                // what the changelog has
	latest  map[string]balance                // what the output has
	owners  map[string]account                // the input
	stored  map[string]account                // the changelog of it
	seen    map[string]int                    // the revision of each account that was joined last
	before  map[string]balance                // at the end of the round before
	checked int                               // the rounds before this one are done with
	times   func(round int) (begin time.Time) // of records

	lost, duplicated int64
	wrong            []string // everything else, and what was lost and may not be duplicated
}

// sent is a transfer as it is in the input.
type sent struct {
	transfer
	time  time.Time
	at    place
	times int // that the input has it: a producer that writes again is not the bank's fault
	// settled: the bank had committed it before anything happened in the round that may cost it uncommitted work.
	settled bool
}

type finalResult map[string]int

// place is where a record is.
type place struct {
	partition
	offset int64
}

// partition is one of a topic.
type partition struct {
	topic string
	n     int32
}

// A row is a record of any topic, as a reader gets it.
type row struct {
	at         place
	key, value []byte
	time       time.Time
}

func newOracle(exactly bool, times func(int) time.Time) *oracle {
	return &oracle{
		exactly: exactly, times: times,
		sent: map[int]map[string]*sent{}, booked: map[int]map[string]int{}, counted: map[int]map[string]int{},
		finals: map[int]map[string][]finalResult{}, rows: map[string]balance{}, latest: map[string]balance{},
		owners: map[string]account{}, stored: map[string]account{}, seen: map[string]int{}, before: map[string]balance{},
	}
}

func (o *oracle) fail(format string, args ...any) {
	o.wrong = append(o.wrong, fmt.Sprintf(format, args...))
}

func in[K comparable, V any](m map[int]map[K]V, round int) map[K]V {
	if m[round] == nil {
		m[round] = map[K]V{}
	}
	return m[round]
}

func decode[V any](o *oracle, r row) (v V) {
	if err := json.Unmarshal(r.value, &v); err != nil {
		o.fail("%s: %s: %q: %v", r.at.topic, r.key, r.value, err)
	}
	return v
}

// add takes a record. Those of a topic's partition come in their order.
func (o *oracle) add(r row) {
	switch r.at.topic {
	case "accounts":
		o.owners[string(r.key)] = decode[account](o, r)
	case "transfers":
		t := decode[transfer](o, r)
		s := in(o.sent, t.Round)[t.ID]
		if s == nil {
			s = &sent{transfer: t, time: r.time, at: r.at}
			o.sent[t.Round][t.ID] = s
		}
		s.times++
	case "journal":
		b := decode[booking](o, r)
		o.late("journal", b.Round, b.ID)
		in(o.booked, b.Round)[b.ID]++
		o.joined(b)
	case "balances":
		b := decode[balance](o, r)
		o.late("balances", b.Last.Round, b.Last.ID)
		in(o.counted, b.Last.Round)[b.Last.ID]++
		if was, ok := o.latest[string(r.key)]; o.exactly && ok && b.Entries != was.Entries+1 {
			o.fail("balances: %s has %d entries after %d: each update adds one", r.key, b.Entries, was.Entries)
		}
		o.latest[string(r.key)] = b
	case "activity":
		key, err := window.TimeKey(serde.String, perSecond).Decode(r.key)
		if err != nil {
			o.fail("activity: key %q: %v", r.key, err)
			return
		}
		round := o.roundOf(key.Start)
		if round < o.checked-1 {
			o.again("activity: %v again, after its round had been checked", key)
			return
		}
		at := windowName(key.Key, key.Start)
		in(o.finals, round)[at] = append(o.finals[round][at], decode[finalResult](o, r))
	case balancesLog:
		o.rows[string(r.key)] = decode[balance](o, r)
	case accountsLog:
		o.stored[string(r.key)] = decode[account](o, r)
	default:
		o.fail("a record of topic %s", r.at.topic)
	}
}

// late: everything that a round has caused was committed before it was checked, so that nothing is processed again after that, at least once neither.
func (o *oracle) late(topic string, round int, id string) {
	if round < o.checked {
		o.again("%s: %s again, after its round had been checked", topic, id)
	}
}

// settle marks the transfers that are before the offsets that the group has committed.
func (o *oracle) settle(committed map[partition]int64) {
	for _, round := range o.sent {
		for _, s := range round {
			s.settled = s.at.offset < committed[s.at.partition]
		}
	}
}

func (o *oracle) again(format string, args ...any) {
	o.duplicated++
	o.fail(format, args...)
}

// joined checks the row that a transfer was joined with: any revision that was written, since the two topics are not processed in any order that
// the oracle knows; but the rows of a table do not go back.
func (o *oracle) joined(b booking) {
	if owner := ownerOf(b.From); b.Account.Owner != owner {
		o.fail("journal: %s was joined with the account of %q, not of %q", b.ID, b.Account.Owner, owner)
	}
	if o.exactly && b.Account.Revision < o.seen[b.From] {
		o.fail("journal: %s was joined with revision %d of %s, after another with revision %d", b.ID, b.Account.Revision, b.From, o.seen[b.From])
	}
	o.seen[b.From] = max(o.seen[b.From], b.Account.Revision)
}

func ownerOf(account string) string { return "owner of " + account }

func windowName(account string, start time.Time) string {
	return fmt.Sprintf("%s@%d", account, start.UnixMilli())
}

// roundOf returns the round in which a record has this time.
func (o *oracle) roundOf(t time.Time) int {
	return int((t.Sub(o.times(0))+roundTime)/roundTime) - 1
}

// count compares how often something is there with how often it should be.
func (o *oracle) count(what, id string, got int, s *sent, gentle bool) {
	switch {
	case got < s.times:
		o.lost++
		o.fail("lost: %s %s: %d times, and the input has it %d times", id, what, got, s.times)
	case got > s.times:
		o.duplicated += int64(got - s.times)
		if o.exactly || gentle || s.settled {
			why := map[bool]string{true: "; nothing has failed in this round", false: ""}[gentle]
			if s.settled {
				why = "; it was committed before anything failed in this round"
			}
			o.fail("duplicated: %s %s: %d times, and the input has it %d times%s", id, what, got, s.times, why)
		}
	}
}

// check checks a round after which everything is processed. gentle: nothing has happened in it that costs a member uncommitted work, so nothing
// may be counted twice with either guarantee. ordered: no member was frozen, so the last update of a row is what the table has.
func (o *oracle) check(round int, gentle, ordered bool) {
	expected := o.sent[round]
	ids := map[string]*sent{} // of entries
	of := map[string][]string{}
	for id, s := range expected {
		o.count("in the journal", id, o.booked[round][id], s, gentle)
		for half, name := range map[string]string{halfOut: s.From, halfIn: s.To} {
			// That a transfer was committed does not say so of its entries, which another task counts.
			e := *s
			e.settled = false
			ids[id+half] = &e
			of[name] = append(of[name], id+half)
			o.count("in the updates of "+name, id+half, o.counted[round][id+half], &e, gentle)
		}
	}
	for id := range o.booked[round] {
		if expected[id] == nil {
			o.fail("journal: %s is not in the input", id)
		}
	}
	for id := range o.counted[round] {
		if ids[id] == nil {
			o.fail("balances: %s is not in the input", id)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		o.checkRow(round, name, of[name], ids, gentle)
	}
	for name, b := range o.rows {
		if latest := o.latest[name]; (o.exactly || ordered) && !reflect.DeepEqual(latest, b) {
			o.fail("%s: the last update is %+v, and the table has %+v", name, latest, b)
		}
	}
	for name, a := range o.owners {
		if o.stored[name] != a {
			o.fail("accounts: %s is %+v, and the table has %+v", name, a, o.stored[name])
		}
	}
	o.checkWindows(round-1, gentle)
	o.before = maps.Clone(o.rows)
	o.checked = round + 1
	delete(o.booked, round)
	delete(o.counted, round)
	delete(o.sent, round-1)
	delete(o.finals, round-1)
}

// checkRow checks what an account has: each entry of the round, and the balance that follows from them.
func (o *oracle) checkRow(round int, name string, entries []string, ids map[string]*sent, gentle bool) {
	was, ok := o.before[name]
	if !ok {
		was = balance{Balance: opening}
	}
	b := o.rows[name]
	if b.Round != round || b.Late > 0 {
		o.fail("%s: in round %d the table has %+v", name, round, b)
		o.lost += int64(len(entries))
		return
	}
	sum, n := was.Balance, was.Entries
	for id, times := range b.Seen {
		s := ids[id]
		if s == nil || !slices.Contains(entries, id) {
			o.fail("%s: has %s, which is not in the input", name, id)
			continue
		}
		amount := s.Amount
		if strings.HasSuffix(id, halfOut) {
			amount = -amount
		}
		sum, n = sum+int64(times)*amount, n+int64(times)
	}
	for _, id := range entries {
		o.count("in the row of "+name, id, b.Seen[id], ids[id], gentle)
	}
	if b.Balance != sum || b.Entries != n {
		o.fail("%s: has %d after %d entries; those that it has seen make it %d after %d", name, b.Balance, b.Entries, sum, n)
	}
}

// checkWindows checks the final results of a round's windows, when a later round has closed them.
func (o *oracle) checkWindows(round int, gentle bool) {
	want := map[string]map[string]*sent{}
	for id, s := range o.sent[round] {
		start := s.time.Truncate(time.Second)
		for half, name := range map[string]string{halfOut: s.From, halfIn: s.To} {
			at := windowName(name, start)
			if want[at] == nil {
				want[at] = map[string]*sent{}
			}
			want[at][id+half] = &sent{times: s.times}
		}
	}
	for at, entries := range want {
		results := o.finals[round][at]
		o.count("is a final result", at, len(results), &sent{times: 1}, gentle)
		for _, got := range results {
			for id, s := range entries {
				// The windows are of the round before, in which something may have failed.
				o.count("in the window "+at, id, got[id], s, false)
			}
			for id := range got {
				if entries[id] == nil {
					o.fail("activity: %s in the window %s is not in the input", id, at)
				}
			}
		}
	}
	for at := range o.finals[round] {
		if want[at] == nil {
			o.fail("activity: the window %s has no record in the input", at)
		}
	}
}

// sum returns by how much all balances together differ from what they were at first.
func (o *oracle) sum() (drift int64) {
	for _, b := range o.rows {
		drift += b.Balance - opening
	}
	return drift
}
