// Package segmented stores windows, sessions and versions in key-value engines. It decides how
// their rows look there and what goes to the changelog, whose records are those of Kafka Streams.
//
// A Store stands between an engine and its changelog. The engine below it sees local keys; Cut and
// Restore deal in the changelog's keys. Operators and queries use views (Handle), of one Store or
// of the merged stores of several partitions.
//
// Rows are grouped in segments of stream time, as in Kafka Streams. When all rows of a segment have
// expired, the engine drops them together, without visiting them.
//
// Invariants:
//
//  1. Reads of a partition see no row that has expired by that partition's observed time.
//  2. The observed time on disk is that of the newest epoch there: it is a row, written at each cut
//     and undone with its epoch.
//  3. The changelog of a versioned store has the puts of an epoch in their order, and for each key
//     that the epoch wrote, the latest version last.
package segmented

import (
	"errors"
	"fmt"
	"iter"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/storage"
)

// Store is an engine of one partition of a window, session or versioned store. It belongs to the
// goroutine that owns the engine.
type Store struct {
	storage.Engine
	name        string
	kind        graph.StoreKind
	shape       shape
	timeIndex   bool
	duplicates  bool
	keepHeaders bool

	size           int64              // ms, of windows
	retention      int64              // ms
	observedTime   int64              // the latest time of rows that were put or restored
	provenTime     int64              // while restoredMeta: the part of observedTime that is not in doubt; see readTime
	settledTime    int64              // the observed time up to what has settled; see expiryTime
	restoredBytes  int64              // changelog bytes that were restored
	restoreMark    restoreMark        // where settledTime will follow the restore next
	seq            uint32             // of the duplicate that was put last
	savedMeta      meta               // what the meta row contains
	restoredMeta   bool               // the observed time is that of a restore, and may lie ahead of what has settled
	checkpoint     storage.Checkpoint // of the newest restore or settled epoch, at first that of the file
	writes         uint64             // grows with each write: a scan that has read ahead reads again when it changes
	journal        journal            // versioned stores: the puts of the current epoch
	prepared       preparedCut        // versioned stores: what the next cut has read
	tombstones     int                // versioned stores: deletions of the current epoch
	droppedBelow   int64              // the number below which the engine drops segments
	trim           changelogTrim
	pass           pass    // versioned stores
	passAfter      int64   // see the constant of this name; tests set others
	restoreOffsets []int64 // of the changes in the current RestoreAt

	key, buf, value, valueCopy []byte // scratch memory
	aheadBytes                 []byte // of the keys that were read ahead last
	aheadKeys                  [][]byte
	restoring                  []storage.Change
	restoredLatest             map[string]int // a key's latest version that is still in restoring: its index
}

// Wrap returns the engine as the task, its changelog and queries use it. A key-value store without
// headers is e itself.
func Wrap(s *graph.Store, e storage.Engine) (storage.Engine, error) {
	switch {
	case IsSegmented(s.Kind):
		return newStore(s, e)
	case s.KeepHeaders:
		return &headerEngine{e}, nil
	}
	return e, nil
}

// Unwrap returns the Store that Wrap made of an engine; nil for a key-value store.
func Unwrap(b storage.Bytes) *Store {
	if wrapped, ok := b.(*headerEngine); ok {
		b = wrapped.Engine
	}
	s, _ := b.(*Store)
	return s
}

// IsSegmented reports whether the rows of stores of that kind are in segments.
func IsSegmented(k graph.StoreKind) bool {
	return k == graph.Window || k == graph.Session || k == graph.Versioned
}

func newStore(s *graph.Store, e storage.Engine) (*Store, error) {
	out := &Store{
		Engine: e, name: s.Name, kind: s.Kind, timeIndex: s.ByTime, duplicates: s.Duplicates, keepHeaders: s.KeepHeaders,
		shape: shape{session: s.Kind == graph.Session, interval: SegmentInterval(s).Milliseconds()},
		size:  s.Size.Milliseconds(), retention: s.Retention.Milliseconds(),
		trim: newChangelogTrim(s.Retention.Milliseconds()), passAfter: passAfter,
	}
	if x, ok := e.(storage.SeriesIndexer); ok {
		x.IndexSeries(seriesOf(s))
	}
	if x, ok := e.(storage.Segmenter); ok {
		x.GroupSegments(out.segments())
	}
	out.checkpoint, _ = e.Position()
	err := out.loadMeta()
	// Segments of another length have other numbers, so no row would be found. The changelog has all
	// of them: start without the files. A store that has no changelog keeps its files, and the error
	// says what to do.
	if errors.Is(err, errOtherFormat) && s.Changelog {
		return out, out.Truncate()
	}
	return out, err
}

var errOtherFormat = errors.New("its files were written with another retention or another index, and it has no " +
	"changelog to be restored from: put these settings back, or delete its files")

// Observed returns the store's observed time. The key does not matter; it does to Partitions, which
// this implements half of.
func (s *Store) Observed([]byte) (int64, error) { return s.readTime(), nil }

// PartitionOf returns s: a store of one partition has all keys. See Partitions.
func (s *Store) PartitionOf([]byte) (*Store, error) { return s, nil }

// Writes counts the writes of rows.
func (s *Store) Writes() uint64 { return s.writes }

// Observe raises the observed time, and the expiry time with it: an operator calls it with times
// whose results it has sent already.
func (s *Store) Observe(t int64) error {
	s.observe(t)
	s.settledTime = max(s.settledTime, t)
	return nil
}

// expiryTime returns the stream time that decides which rows have expired.
//
// Stores with an index by time belong to operators that emit on close. Such an operator must still
// find a closed window until its result is committed. If rows expired by the greatest time put
// (observedTime), this could happen: a record with a much later time is put, its changelog record
// reaches Kafka, and the process dies before the results of the windows that it closed do. After
// the restore those windows would have expired, and their results would never be sent.
//
// So these stores expire rows by the last settled time (settledTime): what Observe was called with,
// what is on disk, and during a restore what lies far enough before the changelog's end. Until then
// scans by time see the rows. Other reads do not: their answer would depend on when a commit
// settles.
func (s *Store) expiryTime() int64 {
	if s.timeIndex {
		return s.settledTime
	}
	return s.readTime()
}

// readTime returns the stream time that decides what reads see: the observed time, once all of it is certain.
//
// A restore reads what an owner wrote, of which the last epoch may not have settled. Its records are processed again,
// and need the rows that they found the first time, whatever later records of the epoch lie ahead:
//
//	windows of a minute, retained for an hour: a record of 9:00 and one of 11:00 are processed, the changelog has both,
//	and the process dies before the commit -> the record of 9:00 comes again -> by 11:00 its window has expired, so it
//	would count for nothing, and what was counted before would never be sent
//
// So after a restore rows expire by the stream time that was committed (Committed), and by what is put from then on,
// until that has reached what the restore saw.
func (s *Store) readTime() int64 {
	if s.restoredMeta {
		return s.provenTime
	}
	return s.observedTime
}

// observe is called with the time of a row that is put or deleted.
func (s *Store) observe(t int64) {
	s.observedTime = max(s.observedTime, t)
	if s.restoredMeta {
		s.provenTime = max(s.provenTime, t)
	}
}

// Committed is called before a task begins with the stream time that was committed with its offsets: that of the
// operator that has the store, or else of the task; -1 when there is none.
func (s *Store) Committed(t int64) {
	if !s.restoredMeta {
		return
	}
	t = min(t, s.observedTime)
	s.provenTime, s.settledTime = max(s.provenTime, t), max(s.settledTime, t)
}

// Get implements storage.Bytes, with invariant 1.
func (s *Store) Get(key []byte) ([]byte, int64, bool, error) {
	if s.keyHasExpired(key) {
		return nil, 0, false, nil
	}
	return s.Engine.Get(key)
}

// Scan implements storage.Bytes, with invariant 1.
func (s *Store) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) {
		for e, err := range s.Engine.Scan(s.clipExpired(r)) {
			if err == nil && s.keyHasExpired(e.Key) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Cut implements storage.Engine: emit gets changelog records. It establishes invariants 2 and 3.
func (s *Store) Cut(emit func(storage.Change) error) (uint64, error) {
	if s.keepHeaders {
		emit = emitWithHeaders(emit)
	}
	if s.provenTime >= s.observedTime {
		s.restoredMeta = false // all that a restore has read belongs to settled epochs when this one has settled
	}
	// The observed time and the trim steps are written as rows of the epoch. If the epoch is undone,
	// they are too; and once it is on disk, a start reads exactly the time that belongs to the rows
	// there.
	if now := s.currentMeta(s.checkpoint.Offset); now != s.savedMeta {
		s.buf = appendMeta(s.buf[:0], now)
		if err := s.Engine.Put(metaKey, s.buf, max(now.observedTime, 0)); err != nil {
			return 0, err
		}
		s.savedMeta = now
	}
	if err := s.saveTrim(); err != nil {
		return 0, err
	}
	s.dropExpiredSegments()
	// Which part of the changelog a restore needs follows from the times of this epoch. It must not
	// change before the epoch has settled: what is deleted from the changelog cannot come back when
	// the epoch is undone.
	times := epochTimes{latest: noTime, bound: s.expiryTime() - s.retention}
	epoch, err := s.cutRows(emit, &times)
	if err == nil {
		times.epoch = epoch
		s.trim.unsettled = append(s.trim.unsettled, times)
	}
	return epoch, err
}

func (s *Store) cutRows(emit func(storage.Change) error, times *epochTimes) (uint64, error) {
	if s.kind == graph.Versioned {
		return s.cutVersions(emit, times)
	}
	return s.Engine.Cut(func(c storage.Change) error {
		// The changelog gets the rows alone. A restore makes the index by time and the meta row from
		// them.
		if len(c.Key) == 0 || c.Key[0] != rowClass {
			return nil
		}
		r, buf, ok := s.shape.parseRowKey(c.Key[headLen:], s.buf)
		if s.buf = buf; !ok {
			return fmt.Errorf("store %q: %w: %s", s.name, errKey, quote.Hex(c.Key))
		}
		times.latest = max(times.latest, s.shape.expiryOf(r))
		s.key = s.shape.appendChangelogKey(s.key[:0], r)
		c.Key = s.key
		return emit(c)
	})
}

// Undo implements storage.Engine.
func (s *Store) Undo() error {
	if err := s.Engine.Undo(); err != nil {
		return err
	}
	return s.loadMeta()
}

// Truncate implements storage.Engine.
func (s *Store) Truncate() error {
	if err := s.Engine.Truncate(); err != nil {
		return err
	}
	s.checkpoint = storage.Checkpoint{}
	return s.loadMeta()
}

// Restore implements storage.Engine: changes are records of the changelog. It leaves out what has
// expired.
func (s *Store) Restore(changes []storage.Change, checkpoint storage.Checkpoint) error {
	s.writes++
	if s.keepHeaders {
		prependHeaders(changes)
	}
	if s.kind == graph.Versioned {
		return s.restoreVersions(changes, checkpoint)
	}
	s.beginRestore(len(changes))
	s.restoring = s.restoring[:0]
	keys := make([]byte, 0, s.restoredKeys(changes))
	for i, ch := range changes {
		r, err := s.shape.parseChangelogKey(ch.Key)
		if err != nil {
			return fmt.Errorf("store %q: %w", s.name, err)
		}
		s.observedTime = max(s.observedTime, s.shape.expiryOf(r))
		s.trim.add(s.restoreOffset(i), s.shape.expiryOf(r))
		// Sequence numbers have 31 bits and wrap around. The shift puts the sign of the difference into
		// the top bit, so that 0 comes after 0x7fffffff.
		if s.duplicates && int32((r.seq-s.seq)<<1) > 0 {
			s.seq = r.seq
		}
		if !s.hasExpired(s.shape.expiryOf(r)) {
			keys = s.restoreRow(keys, r, ch)
		}
		s.noteRestored(int64(len(ch.Key) + len(ch.Value)))
	}
	s.trim.dropExpired(s.expiryTime() - s.retention)
	return s.applyRestored(checkpoint)
}

// beginRestore notes that what is restored from here on, n changes at present, may not have settled.
func (s *Store) beginRestore(n int) {
	if !s.restoredMeta && n > 0 {
		s.restoredMeta, s.provenTime = true, s.observedTime
	}
}

// restoredKeys estimates how many bytes the local keys of changes have, so that Restore makes one
// buffer for all of them.
func (s *Store) restoredKeys(changes []storage.Change) (n int) {
	for i := range changes {
		n += len(changes[i].Key) + headLen + 4
	}
	if s.timeIndex {
		n *= 2
	}
	return n
}

// restoreRow adds a row, and its entry in the index by time, to what the engine gets. Keys are
// appended to the buffer keys, which is returned.
func (s *Store) restoreRow(keys []byte, r row, c storage.Change) []byte {
	start := len(keys)
	keys = s.shape.appendRowKey(keys, r)
	c.Key = keys[start:len(keys):len(keys)]
	s.restoring = append(s.restoring, c)
	if !s.timeIndex {
		return keys
	}
	start = len(keys)
	keys = s.shape.appendIndexKey(keys, r)
	index := storage.Change{Key: keys[start:len(keys):len(keys)], Time: c.Time}
	if c.Value != nil {
		index.Value = emptyValue
	}
	s.restoring = append(s.restoring, index)
	return keys
}

// applyRestored passes the collected rows to the engine, with the meta row.
func (s *Store) applyRestored(c storage.Checkpoint) error {
	if now := s.currentMeta(c.Offset); now != s.savedMeta {
		row := storage.Change{Key: metaKey, Value: appendMeta(nil, now), Time: max(now.observedTime, 0)}
		s.restoring = append(s.restoring, row)
		s.savedMeta = now
	}
	// A changelog has many more rows than the store. If expired segments were dropped only after the
	// restore, all of it would be here at once.
	s.dropExpiredSegments()
	err := s.Engine.Restore(s.restoring, c)
	clear(s.restoring) // release the values
	s.restoring, s.checkpoint = s.restoring[:0], c
	return err
}

// ChangelogRows passes to emit what the changelog should contain for one of its keys: the row or
// versions, or a tombstone when there are none.
func (s *Store) ChangelogRows(key []byte, now int64, emit func(storage.Change) error) error {
	if s.keepHeaders {
		emit = emitWithHeaders(emit)
	}
	if s.kind == graph.Versioned {
		return s.changelogVersions(key, now, emit)
	}
	c := storage.Change{Key: key, Time: now}
	r, err := s.shape.parseChangelogKey(key)
	if err != nil {
		return emit(c) // not a key that this store writes: delete it
	}
	// The row gets a new place in the changelog, which has to stay there as long as the row.
	s.trim.rewritten = max(s.trim.rewritten, s.shape.expiryOf(r))
	s.key = s.shape.appendRowKey(s.key[:0], r)
	v, t, ok, err := s.Get(s.key)
	if err != nil {
		return err
	}
	if ok {
		c.Value, c.Time = v, t
	}
	return emit(c)
}
