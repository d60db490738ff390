package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// members are the processes of the bank that are there between rounds; one more may come and go.
const members = 3

// broker is the target of faults of the broker, and guest the member that comes and goes.
const (
	broker = -1
	guest  = members
)

// session is the time after which the group removes a member that does not answer. Short, so that a round takes seconds; but a machine
// that is busy with other things must not look like one that has died.
const session = 3 * time.Second

// kind is what can happen.
type kind struct {
	name string
	// gentle: it costs no member uncommitted work, so that nothing is counted twice with either guarantee.
	gentle        bool
	weight        int
	least, varies time.Duration // how long it lasts
	target        func(*rand.Rand) int
	stops         bool // it stops a process, which has to end without an error
}

func anyMember(r *rand.Rand) int { return r.IntN(members) }
func theBroker(*rand.Rand) int   { return broker }
func theGuest(*rand.Rand) int    { return guest }

// The kinds of faults, by what is done to whom.
const (
	killMember   = "kill -9, restart"
	killWipe     = "kill -9, restart with an empty disk"
	killOlder    = "kill -9, restart with an older copy of the disk"
	freezeMember = "freeze past the session"
	stopMember   = "stop, restart"
	stopWipe     = "stop, restart with an empty disk"
	joinGuest    = "join, stop"
	killGuest    = "join, kill -9"
	pauseMember  = "freeze for a moment"
	fullDisk     = "disk full"
	killBroker   = "kill -9 the broker, restart"
	freezeBroker = "freeze the broker"
)

var kinds = []kind{
	{killMember, false, 6, 0, 3 * time.Second, anyMember, false},
	{killWipe, false, 3, 0, 2 * time.Second, anyMember, false},
	{killOlder, false, 2, 0, 2 * time.Second, anyMember, false},
	{freezeMember, false, 2, session + 1500*time.Millisecond, 2 * time.Second, anyMember, false},
	{killGuest, false, 1, 2 * time.Second, time.Second, theGuest, false},
	{pauseMember, false, 1, 500 * time.Millisecond, time.Second, anyMember, false},
	{killBroker, false, 1, 0, 500 * time.Millisecond, theBroker, false},
	{freezeBroker, false, 1, 500 * time.Millisecond, 4 * time.Second, theBroker, false},
	{stopMember, true, 2, 0, 2 * time.Second, anyMember, true},
	{stopWipe, true, 1, 0, 2 * time.Second, anyMember, true},
	{joinGuest, true, 2, time.Second, 2 * time.Second, theGuest, true},
	{fullDisk, true, 2, time.Second, 2 * time.Second, anyMember, false},
}

// fault is one of a round.
type fault struct {
	kind
	target int
	at     time.Duration // from the beginning of the round
	lasts  time.Duration
}

func (f fault) end() time.Duration { return f.at + f.lasts }

func who(target int) string {
	switch target {
	case broker:
		return "broker"
	case guest:
		return "guest"
	}
	return fmt.Sprintf("member %d", target)
}

func (f fault) String() string {
	return fmt.Sprintf("%.1fs %s: %s (%.1fs)", f.at.Seconds(), who(f.target), f.name, f.lasts.Seconds())
}

// schedule is what happens in a round.
type schedule []fault

func (s schedule) gentle() bool {
	return !slices.ContainsFunc(s, func(f fault) bool { return !f.gentle })
}

func (s schedule) freezes() bool {
	return slices.ContainsFunc(s, func(f fault) bool { return f.name == freezeMember || f.name == pauseMember || f.target == broker })
}

func (s schedule) String() string {
	var all []string
	for _, f := range s {
		all = append(all, f.String())
	}
	return strings.Join(all, "; ")
}

// drawn returns the schedule of a round. Its seed and number decide it. One round in four is gentle. No two faults are of one target at a time, and one of
// the members is left alone at any time, so that there is somebody who goes on.
//
// At least once, nothing harsh begins after a member is thawed whose session has ended, until the round is over: records that it had under way may arrive in a changelog
// then, and the new owner of the task, who writes its rows again when it finds that, must not die before it has (docs/testing.md, Simulation).
func drawn(seed uint64, round int, exactly bool) (s schedule) {
	rnd := rand.New(rand.NewPCG(seed, uint64(round)))
	gentle := round%4 == 3
	n := 2 + rnd.IntN(3)
	thawed := time.Duration(-1)
	at := 300 * time.Millisecond
	// Some that are drawn do not go together with others: then another is, a few times.
	for tries := 0; len(s) < n && tries < 4*n; tries++ {
		k := pick(rnd, gentle)
		f := fault{k, k.target(rnd), at.Truncate(100 * time.Millisecond), (k.least + time.Duration(rnd.Int64N(int64(k.varies)+1))).Truncate(100 * time.Millisecond)}
		others := 0
		clash := slices.ContainsFunc(s, func(g fault) bool {
			together := g.end()+500*time.Millisecond > f.at
			if together && g.target >= 0 && g.target < guest {
				others++
			}
			// A process that is asked to stop while no broker answers ends with an error, as it should.
			stops := g.stops || f.stops
			return together && (g.target == f.target || stops && (g.target == broker || f.target == broker))
		})
		if clash || others >= members-1 && f.target != guest || !exactly && thawed >= 0 && !f.gentle {
			at += 300 * time.Millisecond
			continue
		}
		if f.name == freezeMember || f.target == broker {
			thawed = max(thawed, f.end())
		}
		s = append(s, f)
		at += time.Duration(rnd.IntN(1500)) * time.Millisecond
	}
	slices.SortStableFunc(s, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return s
}

func pick(rnd *rand.Rand, gentle bool) kind {
	total := 0
	for _, k := range kinds {
		if k.gentle || !gentle {
			total += k.weight
		}
	}
	at := rnd.IntN(total)
	for _, k := range kinds {
		if !k.gentle && gentle {
			continue
		}
		if at -= k.weight; at < 0 {
			return k
		}
	}
	panic("the weights do not add up")
}

// A hundred rounds have every kind of fault; a seed gives the same schedule again; and each has at least one fault.
func TestSchedule_HasEveryKind(t *testing.T) {
	for _, exactly := range []bool{false, true} {
		seen := map[string]int{}
		for round := range 100 {
			s := drawn(17, round, exactly)
			assert.Equal(t, s.String(), drawn(17, round, exactly).String())
			assert.NotEmpty(t, s)
			assert.True(t, round%4 != 3 || s.gentle())
			for _, f := range s {
				seen[f.name]++
			}
		}
		for _, k := range kinds {
			assert.Positive(t, seen[k.name], k.name)
		}
	}
}
