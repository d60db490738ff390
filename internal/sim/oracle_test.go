package sim

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// judge stops the Apps and checks what they leave.
func (w *world) judge() {
	owners := map[string]*process{}
	for _, p := range w.live {
		for _, t := range p.Tasks() {
			owners[t.ID] = p
		}
	}
	for _, p := range w.live {
		p.cancel()
	}
	for _, p := range w.live {
		p.wait()
	}
	w.note("stopped")
	if at := w.behind(); at != "" {
		w.fail("commit", "after a graceful stop %s", at)
	}
	folded := map[string]map[int32]rows{}
	for name := range stores {
		folded[name] = w.judgeStore(name, owners)
	}
	w.judgeEvents(folded["tally"])
	w.judgeProfiles(folded["profiles"])
	w.judgeOutput(folded["tally"])
}

// rows are those of a store partition.
type rows map[string]row

type row struct {
	value string
	time  int64
}

func (r rows) apply(rec broker.Record) {
	if rec.Value == nil {
		delete(r, string(rec.Key))
		return
	}
	r[string(rec.Key)] = row{string(rec.Value), rec.Time.UnixMilli()}
}

func (w *world) read(topic string) []broker.Record {
	rs, err := w.b.Read(w.ctx, topic)
	if err != nil {
		w.fail("read", "%s: %v", topic, err)
	}
	return rs
}

// judgeStore compares the files of a store, on all machines, with its changelog, and returns what that holds.
func (w *world) judgeStore(name string, owners map[string]*process) map[int32]rows {
	logs := w.changelog(name)
	folded := map[int32]rows{}
	for p, l := range logs {
		folded[p] = l.folded
		owner := owners[fmt.Sprintf("%d_%d", stores[name], p)]
		for _, m := range w.machines {
			w.judgeFile(m, name, p, l, owner != nil && owner.m == m)
		}
	}
	return folded
}

// judgeDead checks what a process that was killed left on its machine. Its connections are cut, so that nothing of it arrives any more.
func (w *world) judgeDead(m *machine) {
	settle()
	for name := range stores {
		if w.b.Cluster().TopicInfo(changelogOf(name)) == nil {
			return // it died before anything was there
		}
		for p, l := range w.changelog(name) {
			w.judgeFile(m, name, p, l, false)
		}
	}
}

// log is a partition of a changelog.
type log struct {
	records []broker.Record
	folded  rows
	end     int64
}

func (w *world) changelog(name string) map[int32]*log {
	logs := map[int32]*log{}
	for _, p := range w.b.Cluster().PartitionInfos(changelogOf(name)) {
		logs[p.Partition] = &log{end: p.HighWatermark, folded: rows{}}
	}
	for _, r := range w.read(changelogOf(name)) {
		l := logs[r.Partition]
		l.records = append(l.records, r)
		l.folded.apply(r)
	}
	return logs
}

// judgeFile checks that a file and what its changelog has gained since are all that the changelog says. After a graceful stop the file
// of the owner lacks nothing.
func (w *world) judgeFile(m *machine, name string, p int32, l *log, stopped bool) {
	f, err := readFile(filepath.Join(m.dir, application, name, fmt.Sprintf("%d.db", p)))
	what := fmt.Sprintf("%s, store %q partition %d", m.name, name, p)
	switch {
	case err != nil:
		w.fail("store", "%s: %v", what, err)
	case stopped && f.checkpoint != l.end:
		w.fail("store", "%s: the owner's checkpoint after a graceful stop is %d, the changelog ends at %d", what, f.checkpoint, l.end)
	case f.checkpoint < 0: // nobody will believe what is in it
	case f.checkpoint > l.end:
		w.fail("store", "%s: the checkpoint is %d, the changelog ends at %d", what, f.checkpoint, l.end)
	default:
		w.compare(what, f, l.records, l.folded)
	}
}

// compare replays a changelog into what a file holds, as a restore would, and compares the outcome with the whole changelog.
func (w *world) compare(what string, f file, log []broker.Record, want rows) {
	for _, r := range log {
		if r.Offset >= f.checkpoint {
			f.rows.apply(r)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got, ok := f.rows[key]; !ok {
			w.fail("store", "%s, checkpoint %d: %q is missing, the changelog has %v", what, f.checkpoint, key, want[key])
		} else if got != want[key] {
			w.fail("store", "%s, checkpoint %d: %q is %v, the changelog has %v", what, f.checkpoint, key, got, want[key])
		}
	}
	for key, got := range f.rows {
		if _, ok := want[key]; !ok {
			w.fail("store", "%s, checkpoint %d: %q is %v, and not in the changelog", what, f.checkpoint, key, got)
		}
	}
}

// file is what a store's file holds. A checkpoint of -1: there is none.
type file struct {
	checkpoint int64
	rows       rows
}

// readFile reads the file of a store that no App has open.
func readFile(path string) (f file, err error) {
	f = file{checkpoint: -1, rows: rows{}}
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return f, nil
	}
	e, info, err := bolt.Open(bolt.Options{Path: path, NoSync: true})
	if err != nil {
		return f, err
	}
	defer e.Close(false)
	if info.Aside != "" {
		return f, fmt.Errorf("moved aside: %s", info.Reason)
	}
	for x, err := range e.Scan(store.Range{}) {
		if err != nil {
			return f, err
		}
		f.rows[string(x.Key)] = row{string(x.Value), x.Time}
	}
	if c, ok := e.Checkpoint(); ok {
		f.checkpoint = c.Offset
	}
	return f, nil
}

// judgeEvents checks how often each event was counted, and written on the way.
func (w *world) judgeEvents(tally map[int32]rows) {
	copied, joined, counted := map[string]int{}, map[string]int{}, map[string]int{}
	for _, r := range w.read("copies") {
		copied[idOf(string(r.Value))]++
	}
	for _, r := range w.read("enriched") {
		id, _, _ := strings.Cut(string(r.Value), " ")
		joined[id]++
	}
	for _, rs := range tally {
		for _, r := range rs {
			for _, id := range strings.Fields(r.value) {
				counted[id]++
			}
		}
	}
	l := w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.acked {
		for _, n := range []struct {
			what, of        string
			times, delivers int
		}{
			{"delivered", "", l.sourced[id], max(1, l.sourced[id])},
			{"copied", "delivered", copied[id], l.sourced[id]},
			{"joined", "delivered", joined[id], l.sourced[id]},
			{"sent on", "delivered", len(l.repeated[id]), l.sourced[id]},
			{"counted", "delivered to the count", counted[id], l.counted[id]},
		} {
			switch {
			case n.times == 0:
				w.fail("lost", "%s was acknowledged, and never %s", id, n.what)
			case n.times > n.delivers:
				w.fail("twice", "%s was %s %d times, and %s %d times", id, n.what, n.times, n.of, n.delivers)
			case n.times > 1 && w.given == "":
				w.fail("exactly once", "%s was %s %d times, although no epoch was given up", id, n.what, n.times)
			}
		}
	}
}

// judgeProfiles checks that the table of profiles is what was written last.
func (w *world) judgeProfiles(table map[int32]rows) {
	got := map[string][]byte{}
	for _, rs := range table {
		for k, r := range rs {
			got[k] = []byte(r.value)
		}
	}
	for user, want := range w.ledger.rows {
		if have, ok := got[user]; ok != (want != nil) || !bytes.Equal(have, want) {
			w.fail("table", "profile %s is %q (%t), %q was written last", user, have, ok, want)
		}
	}
}

// judgeOutput checks that the last tally that was written of each group is the one in the store.
func (w *world) judgeOutput(tally map[int32]rows) {
	last := map[string]string{}
	for _, r := range w.read("tallies") {
		last[string(r.Key)] = string(r.Value)
	}
	for _, rs := range tally {
		for group, r := range rs {
			if !w.stale && last[group] != r.value {
				w.fail("output", "the last tally of %s that was written is %q, the store has %q", group, last[group], r.value)
			}
		}
	}
}
