package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

var began = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// history runs three rounds of the bank on the test driver and returns all records, those of a round together.
func history(t *testing.T) (rounds [][]row) {
	top, err := bank()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.Partitions(parts), testdriver.ApplicationID(application))
	times := timesFrom(began)
	rnd := rand.New(rand.NewPCG(1, 1))
	read := map[string]int{}
	for round := range 3 {
		load := newLoad(round, times, rnd)
		for _, r := range load.accounts(round == 0) {
			testdriver.Input(d, accountsIn).SendRecord(stream.Record[string, account]{Key: r.name, Value: r.account, Time: r.time})
		}
		ts := load.closing()
		for i := range 60 {
			ts = append(ts, load.next(time.Duration(i)*100*time.Millisecond))
		}
		for _, r := range ts {
			testdriver.Input(d, transfersIn).SendRecord(stream.Record[string, transfer]{Key: r.From, Value: r.transfer, Time: r.time})
		}
		var all []row
		for _, topic := range followed {
			raw := d.Raw(topic)
			for _, r := range raw[read[topic]:] {
				all = append(all, row{place{partition: partition{topic: topic}}, r.Key, r.Value, r.Time})
			}
			read[topic] = len(raw)
		}
		rounds = append(rounds, all)
	}
	return rounds
}

func judge(rounds [][]row, exactly bool) *oracle {
	o := newOracle(exactly, timesFrom(began))
	for round, rows := range rounds {
		for _, r := range rows {
			o.add(r)
		}
		o.check(round, false, true)
	}
	return o
}

// What the bank writes is right, by its oracle, where nothing fails.
func TestOracle_AgreesWithTheBank(t *testing.T) {
	for _, exactly := range []bool{false, true} {
		o := judge(history(t), exactly)
		assert.Empty(t, o.wrong)
		assert.Zero(t, o.lost)
		assert.Zero(t, o.duplicated)
		assert.Zero(t, o.sum())
		assert.Len(t, o.rows, accounts)
	}
}

// With any one record missing, or there twice, the oracle says so. Twice in an output is allowed at least once, and counted.
func TestOracle_FindsOneRecordThatIsMissingOrThereTwice(t *testing.T) {
	all := history(t)
	for _, topic := range []string{"journal", "balances", "activity"} {
		for round, rows := range all {
			at := slices.IndexFunc(rows, func(r row) bool { return r.at.topic == topic })
			if at < 0 {
				require.Equal(t, "activity 0", fmt.Sprint(topic, " ", round), "windows of the first round are closed by the second")
				continue
			}
			change := func(with []row) [][]row {
				changed := slices.Clone(all)
				changed[round] = with
				return changed
			}
			missing := change(slices.Delete(slices.Clone(rows), at, at+1))
			twice := change(slices.Insert(slices.Clone(rows), at, rows[at]))
			for _, exactly := range []bool{false, true} {
				o := judge(missing, exactly)
				assert.Positive(t, o.lost, "%s in round %d", topic, round)
				assert.NotEmpty(t, o.wrong)
				o = judge(twice, exactly)
				assert.Positive(t, o.duplicated, "%s in round %d", topic, round)
				assert.Equal(t, exactly, len(o.wrong) > 0, "%s in round %d: %v", topic, round, o.wrong)
			}
		}
	}
}

// An update that the table has lost, although it was written to the output, is found.
func TestOracle_FindsRowsThatAreSetBack(t *testing.T) {
	for _, exactly := range []bool{false, true} {
		rounds := history(t)
		last := rounds[len(rounds)-1]
		log := slices.IndexFunc(last, func(r row) bool { return r.at.topic == balancesLog })
		require.GreaterOrEqual(t, log, 0)
		rounds[len(rounds)-1] = append(slices.Clone(last), last[log])
		o := judge(rounds, exactly)
		assert.Positive(t, o.lost)
		assert.NotEmpty(t, o.wrong)
	}
}
