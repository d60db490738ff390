//go:build kafka

package chaos

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// figures watches what the group commits, and who has which task.
type figures struct {
	mu       sync.Mutex
	loaded   bool // all partitions have input
	owner    map[partition]int
	troubled map[int]bool // what is done to whom at present
	offsets  map[partition]int64
	last     map[partition]time.Time // when it was committed; zero: not since it began to count
	killed   map[partition]killed

	pauses                   [2]pauseOf // of tasks that read inputs, and of those behind the repartition topic
	takeover                 []time.Duration
	restored, restores, full int64
	dropped                  []string
}

type killed struct {
	at     time.Time
	offset int64
}

// pauseOf is the longest time between two commits of a partition which its owner kept, while nothing was done to the owner and the broker.
type pauseOf struct {
	longest time.Duration
	of      partition
	round   int
}

func newFigures() *figures {
	return &figures{
		owner: map[partition]int{}, troubled: map[int]bool{}, offsets: map[partition]int64{}, last: map[partition]time.Time{},
		killed: map[partition]killed{},
	}
}

func partitionOf(task string) (p partition) {
	sub, n, _ := strings.Cut(task, "_")
	p.topic = "transfers"
	if sub == "1" {
		p.topic = entriesTopic
	}
	fmt.Sscan(n, &p.n)
	return p
}

// report takes what a process says.
func (f *figures) report(member int, r report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Restored > 0 {
		f.restored += r.Restored
		f.restores++
		if r.Full {
			f.full++
		}
	}
	if r.Dropped != "" {
		f.dropped = append(f.dropped, who(member)+": "+r.Dropped)
	}
	if r.Assigned == nil {
		return
	}
	has := map[partition]bool{}
	for _, task := range *r.Assigned {
		p := partitionOf(task)
		has[p] = true
		if owner, ok := f.owner[p]; !ok || owner != member {
			f.owner[p] = member
			delete(f.last, p)
		}
	}
	for p, owner := range f.owner {
		if owner == member && !has[p] {
			delete(f.owner, p)
			delete(f.last, p)
		}
	}
}

// trouble notes that something is done to a member or the broker, or is over.
func (f *figures) trouble(target int, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.troubled[target] = on
	if target == broker {
		clear(f.last)
		if on {
			clear(f.killed)
		}
	}
	for p, owner := range f.owner {
		if owner == target {
			delete(f.last, p)
		}
	}
}

// load notes that all partitions begin to have input, or do not have it any more.
func (f *figures) load(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded = on
	clear(f.last)
}

// owned returns the partitions that a member has.
func (f *figures) owned(member int) (all []partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, owner := range f.owner {
		if owner == member {
			all = append(all, p)
		}
	}
	return all
}

// kill notes that the owner of partitions was killed, and what was committed then.
func (f *figures) kill(at time.Time, of []partition, committed map[partition]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range of {
		f.killed[p] = killed{at, committed[p]}
	}
}

// commit takes the offsets that the group has committed at a time.
func (f *figures) commit(round int, now time.Time, offsets map[partition]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, offset := range offsets {
		if offset <= f.offsets[p] {
			continue
		}
		f.offsets[p] = offset
		if k, ok := f.killed[p]; ok && offset > k.offset {
			f.takeover = append(f.takeover, now.Sub(k.at))
			delete(f.killed, p)
		}
		owner, ok := f.owner[p]
		if !f.loaded || !ok || f.troubled[owner] || f.troubled[broker] {
			continue
		}
		if last, ok := f.last[p]; ok {
			i := 0
			if p.topic == entriesTopic {
				i = 1
			}
			if d := now.Sub(last); d > f.pauses[i].longest {
				f.pauses[i] = pauseOf{d, p, round}
			}
		}
		f.last[p] = now
	}
}

func (p pauseOf) String() string {
	return fmt.Sprintf("%v (%s-%d in round %d)", p.longest.Round(time.Millisecond), p.of.topic, p.of.n, p.round)
}

// String is what is printed in the end.
func (f *figures) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "longest pause of a partition that its owner kept: %v; behind the repartition topic: %v\n", f.pauses[0], f.pauses[1])
	if d := f.takeover; len(d) > 0 {
		slices.Sort(d)
		fmt.Fprintf(&b, "first commit of a partition after the kill of its owner: %v, median %v, at most %v, of %d\n",
			d[0].Round(time.Millisecond), d[len(d)/2].Round(time.Millisecond), d[len(d)-1].Round(time.Millisecond), len(d))
	}
	fmt.Fprintf(&b, "records replayed: %d in %d restores of a store partition, %d of them in full", f.restored, f.restores, f.full)
	return b.String()
}
