// Package layout keeps windows, sessions and versions in stores of bytes: how their rows are laid out locally, and what of that goes
// to the changelog, whose bytes are Kafka Streams'.
//
// A Log stands between an engine and its changelog. What is below it has local keys; what it hands to Cut and takes from Restore has
// the changelog's. Views (Handle) are what operators see; they work on a Log or on several that were merged.
//
// Invariants:
//
//  1. What reads see of a partition has not expired by that partition's observed time.
//  2. The observed time on disk is that of the newest epoch there: it is a row, written at the cut, undone with its epoch.
//  3. The changelog of a versioned store has the puts of an epoch in their order, and of each key it wrote the latest version last.
package layout

import (
	"errors"
	"fmt"
	"iter"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
)

// Log is an engine of one partition of a window, session or versioned store. Owned like the engine.
type Log struct {
	store.Engine
	name  string
	kind  graph.StoreKind
	shape shape
	index bool // there is an index by time
	dups  bool
	heads bool // rows keep headers

	retention int64 // ms
	observed  int64
	told      int64  // what rows go by in stores with an index by time
	bytes     int64  // of the changelog that were restored
	mark      mark   // where the restore stood when it moved told last
	seq       uint32 // of the last row that keeps duplicates
	saved     meta
	at        store.Checkpoint // of the newest restore, or what the file held
	writes    uint64           // counts what a scan that has read ahead must know of
	journal   journal          // of versions
	deleted   int              // versions of this epoch that are deletions
	floor     int64            // segments below it were given up

	key, buf, value, given []byte // scratch
	changes                []store.Change
	latest                 map[string]int // of changes: restored latest versions
}

// Wrap returns the engine as the task, its changelog and readers use it: e itself where the store is a key-value store.
func Wrap(s *graph.Store, e store.Engine) (store.Engine, error) {
	switch {
	case Has(s.Kind):
		return newLog(s, e)
	case s.KeepHeaders:
		return &headed{e}, nil
	}
	return e, nil
}

// Of returns the Log that Wrap put around an engine; nil where there is none.
func Of(b store.Bytes) *Log {
	if x, ok := b.(*headed); ok {
		b = x.Engine
	}
	l, _ := b.(*Log)
	return l
}

// Has is whether stores of a kind have a layout.
func Has(k graph.StoreKind) bool {
	return k == graph.Window || k == graph.Session || k == graph.Versioned
}

func newLog(s *graph.Store, e store.Engine) (*Log, error) {
	l := &Log{
		Engine: e, name: s.Name, kind: s.Kind, index: s.ByTime, dups: s.Duplicates, heads: s.KeepHeaders,
		shape:     shape{session: s.Kind == graph.Session, segment: Segment(s).Milliseconds()},
		retention: s.Retention.Milliseconds(),
	}
	l.at, _ = e.Checkpoint()
	err := l.load()
	if errors.Is(err, errOtherLayout) && s.Changelog {
		return l, l.Truncate() // to be restored in full
	}
	return l, err
}

var errOtherLayout = errors.New("its rows were laid out for another retention or another index, and it has no changelog to be restored from: " +
	"give it those back, or delete its files")

// Observed returns the store's observed time. A view on several partitions asks for that of a key's.
func (l *Log) Observed([]byte) (int64, error) { return l.observed, nil }

// Home returns the partition that has a key, or would have it.
func (l *Log) Home([]byte) (*Log, error) { return l, nil }

// Writes counts the writes of rows.
func (l *Log) Writes() uint64 { return l.writes }

// Observe raises the observed time.
func (l *Log) Observe(t int64) error {
	l.observed, l.told = max(l.observed, t), max(l.told, t)
	return nil
}

// now is the time by which rows go.
//
// Emission on close has to find rows that are closed and not sent. Were it the greatest time put, a record that jumps ahead could
// make them go: it would be enough that its row has got into the changelog and what it closed has not got out when the process dies.
// So the rows of its stores go by what has settled: by what Observe is told, by what is on disk, and in a restore by what stands far
// enough before the changelog's end. Until then scans by time see them; other reads do not, which would else depend on when a
// commit has settled.
func (l *Log) now() int64 {
	if l.index {
		return l.told
	}
	return l.observed
}

// Get implements store.Bytes. It keeps 1.
func (l *Log) Get(key []byte) ([]byte, int64, bool, error) {
	if l.gone(key) {
		return nil, 0, false, nil
	}
	return l.Engine.Get(key)
}

// Scan implements store.Bytes. It keeps 1.
func (l *Log) Scan(r store.Range) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range l.Engine.Scan(l.clip(r)) {
			if err == nil && l.gone(e.Key) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Cut implements store.Engine: emit gets what the changelog is to hold. It keeps 2 and 3.
func (l *Log) Cut(emit func(store.Change) error) (uint64, error) {
	if l.heads {
		emit = emitHeaded(emit)
	}
	if now := l.meta(); now != l.saved {
		l.buf = appendMeta(l.buf[:0], now)
		if err := l.Engine.Put(metaKey, l.buf, max(now.observed, 0)); err != nil {
			return 0, err
		}
		l.saved = now
	}
	l.giveUp()
	if l.kind == graph.Versioned {
		return l.cutVersions(emit)
	}
	return l.Engine.Cut(func(c store.Change) error {
		if len(c.Key) == 0 || c.Key[0] != rowClass {
			return nil
		}
		r, buf, ok := l.shape.cutRow(c.Key[headLen:], l.buf)
		if l.buf = buf; !ok {
			return fmt.Errorf("store %q: %w: %x", l.name, errKey, c.Key)
		}
		l.key = l.shape.appendLogged(l.key[:0], r)
		c.Key = l.key
		return emit(c)
	})
}

// Undo implements store.Engine.
func (l *Log) Undo() error {
	if err := l.Engine.Undo(); err != nil {
		return err
	}
	return l.load()
}

// Truncate implements store.Engine.
func (l *Log) Truncate() error {
	if err := l.Engine.Truncate(); err != nil {
		return err
	}
	l.at = store.Checkpoint{}
	return l.load()
}

// Restore implements store.Engine: changes are the changelog's. What has expired meanwhile is left out.
func (l *Log) Restore(changes []store.Change, c store.Checkpoint) error {
	l.writes++
	if l.heads {
		joinHeaders(changes)
	}
	if l.kind == graph.Versioned {
		return l.restoreVersions(changes, c)
	}
	l.changes = l.changes[:0]
	keys := make([]byte, 0, l.restoredKeys(changes))
	for _, ch := range changes {
		r, err := l.shape.parseLogged(ch.Key)
		if err != nil {
			return fmt.Errorf("store %q: %w", l.name, err)
		}
		l.observed = max(l.observed, l.shape.at(r))
		if l.dups && int32((r.seq-l.seq)<<1) > 0 {
			l.seq = r.seq
		}
		if !l.over(l.shape.at(r)) {
			keys = l.restoreRow(keys, r, ch)
		}
		l.read(int64(len(ch.Key) + len(ch.Value)))
	}
	return l.apply(c)
}

// restoredKeys returns about how many bytes the local keys of changes have.
func (l *Log) restoredKeys(changes []store.Change) (n int) {
	for i := range changes {
		n += len(changes[i].Key) + headLen + 4
	}
	if l.index {
		n *= 2
	}
	return n
}

// restoreRow adds a row to what the engine gets. Keys stand in a memory that all of them share.
func (l *Log) restoreRow(keys []byte, r row, c store.Change) []byte {
	at := len(keys)
	keys = l.shape.appendRow(keys, r)
	c.Key = keys[at:len(keys):len(keys)]
	l.changes = append(l.changes, c)
	if !l.index {
		return keys
	}
	at = len(keys)
	keys = l.shape.appendIndex(keys, r)
	i := store.Change{Key: keys[at:len(keys):len(keys)], Time: c.Time}
	if c.Value != nil {
		i.Value = emptyValue
	}
	l.changes = append(l.changes, i)
	return keys
}

// apply hands restored rows to the engine, with what the store knows of itself.
func (l *Log) apply(c store.Checkpoint) error {
	if now := l.meta(); now != l.saved {
		l.changes = append(l.changes, store.Change{Key: metaKey, Value: appendMeta(nil, now), Time: max(now.observed, 0)})
		l.saved = now
	}
	l.giveUp() // a changelog keeps more than the store: without this all of it would be here at once
	err := l.Engine.Restore(l.changes, c)
	clear(l.changes)
	l.changes, l.at = l.changes[:0], c
	return err
}

// Logged hands what the changelog should hold for one of its keys to emit: all rows that have it, or one deletion.
func (l *Log) Logged(key []byte, now int64, emit func(store.Change) error) error {
	if l.heads {
		emit = emitHeaded(emit)
	}
	if l.kind == graph.Versioned {
		return l.loggedVersions(key, now, emit)
	}
	c := store.Change{Key: key, Time: now}
	r, err := l.shape.parseLogged(key)
	if err != nil {
		return emit(c) // no row of ours: it goes
	}
	l.key = l.shape.appendRow(l.key[:0], r)
	v, t, ok, err := l.Get(l.key)
	if err != nil {
		return err
	}
	if ok {
		c.Value, c.Time = v, t
	}
	return emit(c)
}
