package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// load makes the records of a round.
type load struct {
	round int
	begin time.Time // of the records' times
	rnd   *rand.Rand
	n     int
}

type accountRecord struct {
	name string
	account
	time time.Time
}

type transferRecord struct {
	transfer
	time time.Time
}

func newLoad(round int, times func(int) time.Time, rnd *rand.Rand) *load {
	return &load{round: round, begin: times(round), rnd: rnd}
}

func nameOf(account int) string { return fmt.Sprintf("account-%02d", account) }

// accounts are new revisions of all rows, in the first round of a run, or of some.
func (l *load) accounts(first bool) (all []accountRecord) {
	for i := range accounts {
		if first || l.rnd.IntN(4) == 0 {
			all = append(all, accountRecord{nameOf(i), account{ownerOf(nameOf(i)), l.round}, l.begin})
		}
	}
	return all
}

// closing are the transfers that close the windows of the round before: one from and one to each account, so that all partitions have some.
func (l *load) closing() (all []transferRecord) {
	for i := range accounts {
		all = append(all, l.make(i, (i+1)%accounts, 0))
	}
	return all
}

// next is a transfer at a time after the beginning of the round.
func (l *load) next(at time.Duration) transferRecord {
	from := l.rnd.IntN(accounts)
	to := (from + 1 + l.rnd.IntN(accounts-1)) % accounts
	return l.make(from, to, min(at, longestLoad-time.Millisecond))
}

func (l *load) make(from, to int, at time.Duration) transferRecord {
	l.n++
	id := fmt.Sprintf("%d.%d", l.round, l.n)
	return transferRecord{transfer{id, nameOf(from), nameOf(to), 1 + l.rnd.Int64N(100), l.round}, l.begin.Add(at.Truncate(time.Millisecond))}
}

// followed are the topics that the oracle reads.
var followed = []string{"accounts", "transfers", "journal", "balances", "activity", accountsLog, balancesLog}

// timesFrom returns when rounds begin, by the times of their records.
func timesFrom(begin time.Time) func(round int) time.Time {
	return func(round int) time.Time { return begin.Add(time.Duration(round) * roundTime) }
}
