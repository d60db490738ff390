package sim

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
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
	w.judgeEnded()
	if at := w.behind(); at != "" {
		w.fail("commit", "after a graceful stop %s", at)
	}
	folded := map[string]map[int32]rows{}
	for _, s := range w.graph.Stores {
		if s.Global {
			continue
		}
		folded[s.Name] = w.judgeStore(s, owners)
	}
	for _, m := range w.machines {
		w.judgeGlobal(m)
	}
	w.judgeEvents(folded)
	if w.reader != nil {
		w.reader.judge()
		w.judgeQueries()
	}
	w.judgeProfiles(folded["profiles"])
	w.judgeOutput(folded["tally"])
	w.judgeHeld(folded)
}

// judgeEnded checks that nobody has ended the transaction of a member that lives: where no process has died or left its place, there is
// none to be ended.
func (w *world) judgeEnded() {
	w.mu.Lock()
	given, n := w.given, w.counts[endedForDead]
	w.mu.Unlock()
	if given == "" && n > 0 {
		w.fail("living", "%d transactions were ended by others, and all processes lived and were members", n)
	}
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
func (w *world) judgeStore(s *graph.Store, owners map[string]*process) map[int32]rows {
	logs := w.changelog(s.Name)
	folded := map[int32]rows{}
	for p, l := range logs {
		folded[p] = l.folded
		owner := owners[fmt.Sprintf("%d_%d", s.Subtopology, p)]
		for _, m := range w.machines {
			w.judgeFile(m, s, p, l, owner != nil && owner.m == m)
		}
	}
	return folded
}

// judgeDead checks what a process that was killed left on its machine. Its connections are cut, so that nothing of it arrives any more.
func (w *world) judgeDead(m *machine) {
	settle()
	if w.late != nil { // what it has settled is in the changelogs when the ends that were answered are carried out
		pass(2 * maxLate)
	}
	w.judgeGlobal(m)
	for _, s := range w.graph.Stores {
		if !s.Global && w.b.Cluster().TopicInfo(changelogOf(s.Name)) == nil {
			return // it died before anything was there
		}
		if s.Global {
			continue
		}
		for p, l := range w.changelog(s.Name) {
			w.judgeFile(m, s, p, l, false)
		}
	}
}

// judgeGlobal checks that the file of the global store and what the topic has gained since are all that the topic says: no process
// has more of it than Kafka has accepted, and none has passed a record by.
func (w *world) judgeGlobal(m *machine) {
	f, err := readFiles(m.dir, everywhere, 0)
	what := fmt.Sprintf("%s, global store", m.name)
	if err != nil {
		w.fail("store", "%s: %v", what, err)
	}
	if err != nil || f.checkpoint < 0 {
		return
	}
	for _, p := range w.b.Cluster().PartitionInfos("tallies") {
		if at := f.from(p.Partition); at > p.HighWatermark {
			w.fail("store", "%s: the checkpoint is %d in partition %d, which ends at %d", what, at, p.Partition, p.HighWatermark)
		}
	}
	w.compare(what, w.graph.Store(everywhere), f, w.read("tallies"))
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
func (w *world) judgeFile(m *machine, s *graph.Store, p int32, l *log, stopped bool) {
	f, err := readFiles(m.dir, s.Name+inDirectory[s.Kind], p)
	what := fmt.Sprintf("%s, store %q partition %d", m.name, s.Name, p)
	switch {
	case err != nil:
		w.fail("store", "%s: %v", what, err)
	// With transactions the checkpoint is before the marker of the last one.
	case stopped && f.checkpoint != l.end && w.plan.guarantee == millstream.AtLeastOnce:
		w.fail("store", "%s: the owner's checkpoint after a graceful stop is %d, the changelog ends at %d", what, f.checkpoint, l.end)
	case f.checkpoint < 0: // nobody will believe what is in it
	case f.checkpoint > l.end:
		w.fail("store", "%s: the checkpoint is %d, the changelog ends at %d", what, f.checkpoint, l.end)
	default:
		w.compare(what, s, f, l.records)
	}
}

// inDirectory is what stores that keep no plain rows have behind their names in a state directory.
var inDirectory = map[graph.StoreKind]string{graph.Window: "+windows", graph.Session: "+sessions", graph.Versioned: "+versions"}

// compare replays a changelog into what a file holds, as a restore would, and compares the outcome with the whole changelog.
func (w *world) compare(what string, s *graph.Store, f file, log []broker.Record) {
	want, err := restored(s, nil, log)
	var got rows
	if err == nil {
		tail := slices.DeleteFunc(slices.Clone(log), func(r broker.Record) bool { return r.Offset < f.from(r.Partition) })
		got, err = restored(s, f.rows, tail)
	}
	if err != nil {
		w.fail("store", "%s: %v", what, err)
		return
	}
	if s.Retention > 0 && s.Retention < long { // what has expired may be there or not
		newest := max(want.newest(), got.newest())
		want.expire(newest - s.Retention.Milliseconds())
		got.expire(newest - s.Retention.Milliseconds())
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got, ok := got[key]; !ok {
			w.fail("store", "%s, checkpoint %d: %q is missing, the changelog has %v", what, f.checkpoint, key, want[key])
		} else if got != want[key] {
			w.fail("store", "%s, checkpoint %d: %q is %v, the changelog has %v", what, f.checkpoint, key, got, want[key])
		}
	}
	for key, got := range got {
		if _, ok := want[key]; !ok {
			w.fail("store", "%s, checkpoint %d: %q is %v, and not in the changelog", what, f.checkpoint, key, got)
		}
	}
}

// restored returns what a store shows that holds some rows, as its file has them, and has then replayed some of its changelog.
func restored(s *graph.Store, held rows, log []broker.Record) (rows, error) {
	m := memtable.New(nil)
	for key, r := range held {
		if err := m.Put([]byte(key), []byte(r.value), r.time); err != nil {
			return nil, err
		}
	}
	e, err := segmented.Wrap(s, m)
	if err != nil {
		return nil, err
	}
	var changes []storage.Change
	for _, r := range log {
		changes = append(changes, storage.Change{Key: r.Key, Value: r.Value, Time: r.Time.UnixMilli()})
	}
	if len(changes) > 0 {
		if err := settled(e); err != nil {
			return nil, err
		}
		if err := e.Restore(changes, storage.Checkpoint{Offset: log[len(log)-1].Offset + 1}); err != nil {
			return nil, err
		}
	}
	h, err := segmented.Handle(s, e, func() int64 { return 0 })
	if err != nil {
		return nil, err
	}
	return shown(h)
}

// settled ends the epoch in which the rows of a file were put.
func settled(e storage.Engine) error {
	epoch, err := e.Cut(func(storage.Change) error { return nil })
	if err == nil {
		e.Settle(epoch, storage.Checkpoint{})
	}
	return err
}

// shown are the rows of a store of any kind. Those that begin in a window are told apart by when.
func shown(h storage.Handle) (rows, error) {
	out := rows{}
	keyed := func(all iter.Seq2[storage.Entry, error]) (rows, error) {
		for e, err := range all {
			if err != nil {
				return nil, err
			}
			out[string(e.Key)] = row{string(e.Value), e.Time}
		}
		return out, nil
	}
	windowed := func(all iter.Seq2[storage.WindowEntry, error]) (rows, error) {
		for e, err := range all {
			if err != nil {
				return nil, err
			}
			key := fmt.Sprintf("%s@%d-%d", e.Key, e.Start, e.End)
			for n := 2; ; n++ { // of those that keep duplicates
				if _, there := out[key]; !there {
					break
				}
				key = fmt.Sprintf("%s@%d-%d (%d)", e.Key, e.Start, e.End, n)
			}
			out[key] = row{string(e.Value), e.Start}
		}
		return out, nil
	}
	switch {
	case h.Windows != nil:
		return windowed(h.Windows.All(storage.Range{}, 0, math.MaxInt64))
	case h.Sessions != nil:
		return windowed(h.Sessions.All(storage.Range{}, 0, math.MaxInt64))
	case h.Versions != nil:
		return keyed(h.Versions.Latest())
	}
	return keyed(h.Bytes.Scan(storage.Range{}))
}

// newest is the greatest time of all rows.
func (r rows) newest() (t int64) {
	for _, x := range r {
		t = max(t, x.time)
	}
	return t
}

// expire removes rows up to a time.
func (r rows) expire(until int64) {
	for k, x := range r {
		if x.time <= until {
			delete(r, k)
		}
	}
}

// file is what a store's file holds. A checkpoint of -1: there is none.
type file struct {
	checkpoint int64
	offsets    []int64 // of each partition of the topic, in the file of the global store
	rows       rows
}

// from is the first offset of a partition that is not in the file.
func (f file) from(partition int32) int64 {
	switch {
	case f.offsets == nil:
		return f.checkpoint
	case int(partition) < len(f.offsets):
		return f.offsets[partition]
	}
	return 0
}

// readFiles reads the files of a store that no App has open.
func readFiles(dir, store string, partition int32) (f file, err error) {
	f = file{checkpoint: -1, rows: rows{}}
	path := filepath.Join(dir, application, store, fmt.Sprint(partition))
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return f, nil
	}
	// So many runs that no merge begins: what is read is what the process has left.
	e, info, err := lsm.Open(lsm.Options{
		Path: path, Store: statedir.Identity(application, store), Partition: partition, NoSync: true,
		Factor: math.MaxInt32, MaxRuns: math.MaxInt32, FileBytes: 1 << 40,
	})
	if err != nil {
		return f, err
	}
	defer e.Close(false)
	if info.Reason != "" {
		return f, fmt.Errorf("moved aside: %s", info.Reason)
	}
	for x, err := range e.Scan(storage.Range{}) {
		if err != nil {
			return f, err
		}
		f.rows[string(x.Key)] = row{string(x.Value), x.Time}
	}
	if c, ok := e.Checkpoint(); ok {
		f.checkpoint, f.offsets = c.Offset, c.Offsets
	}
	return f, nil
}

// judgeEvents checks how often each event was counted, and written on the way.
func (w *world) judgeEvents(stores map[string]map[int32]rows) {
	copied, joined, counted, windowed, visits, pairs := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, w.pairs()
	for _, r := range w.read("copies") {
		copied[idOf(string(r.Value))]++
	}
	for _, r := range w.read("enriched") {
		id, _, _ := strings.Cut(string(r.Value), " ")
		joined[id]++
	}
	ids(stores["tally"], counted)
	if w.mix == windowedMix {
		ids(stores["by-time"], windowed)
		ids(stores["visits"], visits)
	}
	l := w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.aborted {
		if l.sourced[id] > 0 {
			w.fail("aborted", "%s was delivered %d times, and never committed", id, l.sourced[id])
		}
	}
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
			{"counted by time", "delivered to the count", windowed[id], l.counted[id]},
			{"counted by visit", "delivered to the count", visits[id], l.counted[id]},
			{"paired", "delivered with its echo", pairs[id], l.sourced[id] * l.echoed[id]},
		} {
			if w.mix != windowedMix && strings.HasPrefix(n.what, "counted by") || w.mix != joinedMix && n.what == "paired" {
				continue
			}
			switch {
			case n.times == 0:
				w.fail("lost", "%s was acknowledged, and never %s", id, n.what)
			case w.plan.guarantee == millstream.ExactlyOnce:
				if n.of != "" && n.times != 1 {
					w.fail("exactly once", "%s was %s %d times", id, n.what, n.times)
				}
			case n.times > n.delivers:
				w.fail("twice", "%s was %s %d times, and %s %d times", id, n.what, n.times, n.of, n.delivers)
			case n.times > 1 && w.given == "":
				w.fail("exactly once", "%s was %s %d times, although no epoch was given up", id, n.what, n.times)
			}
		}
	}
}

// ids counts the events that a store's rows name.
func ids(of map[int32]rows, counts map[string]int) {
	for _, rs := range of {
		for _, r := range rs {
			for _, id := range strings.Fields(r.value) {
				counts[id]++
			}
		}
	}
}

// pairs counts the results of events with their echoes. An event that waits for its echo has none of its own: its window is open to the end.
func (w *world) pairs() map[string]int {
	counts := map[string]int{}
	if w.mix != joinedMix {
		return counts
	}
	for _, r := range w.read("pairs") {
		id, echo, _ := strings.Cut(string(r.Value), " ")
		switch echo {
		case id + " true":
			counts[id]++
		case " false":
			w.fail("join", "%s was said to have no echo, though its window is open", id)
		}
	}
	return counts
}

// judgeQueries checks that queries have shown nothing but tallies that were committed.
func (w *world) judgeQueries() {
	if w.compacted() {
		return
	}
	committed := map[tally]bool{}
	for _, r := range w.read(changelogOf("tally")) {
		committed[tally{string(r.Key), string(r.Value)}] = true
	}
	for shown := range w.ledger.shown {
		if !committed[shown] {
			w.fail("query", "a query has shown %q as the tally of %s, which was never committed", shown.ids, shown.group)
		}
	}
}

// compacted reports whether changelogs do not have all that was written to them.
func (w *world) compacted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[string(compaction)] > 0
}

// judgeHeld checks that of each group the last tally is in the buffer, or was the last to be sent.
func (w *world) judgeHeld(stores map[string]map[int32]rows) {
	if w.mix != suppressedMix || w.stale {
		return
	}
	last := map[string]string{}
	for _, r := range w.read("held") {
		last[string(r.Key)] = string(r.Value)
	}
	for p, rs := range stores["tally"] {
		for group, r := range rs {
			if _, waits := stores["held"][p][group]; !waits && last[group] != r.value {
				w.fail("output", "the last tally of %s that was held back and sent is %q, the store has %q, and nothing is held back", group, last[group], r.value)
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
