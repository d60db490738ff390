package segmented

import (
	"bytes"
	"fmt"

	"github.com/millstream-go/millstream/internal/storage"
)

// restoreVersions applies the changelog's puts in their order. Rows are collected and go to the
// engine together. Only a late put, of a version before the latest one, has to read what is there,
// so the engine gets the collected rows first.
func (s *Store) restoreVersions(changes []storage.Change, c storage.Checkpoint) error {
	s.beginRestore(len(changes))
	if s.restoredLatest == nil {
		s.restoredLatest = map[string]int{}
	}
	for _, ch := range changes {
		if err := s.restoreVersion(ch); err != nil {
			return fmt.Errorf("store %q: %w", s.name, err)
		}
		s.noteRestored(int64(len(ch.Key) + len(ch.Value)))
	}
	clear(s.restoredLatest)
	return s.applyRestored(c)
}

func (s *Store) restoreVersion(c storage.Change) error {
	s.observedTime = max(s.observedTime, c.Time)
	stored, from, ok, err := s.latestInRestore(c.Key)
	if err != nil {
		return err
	}
	// What follows is what putVersion does, with the same rows in the same order.
	if ok && c.Time < from {
		return s.restoreOlder(c, from)
	}
	if ok && c.Time > from && c.Time > s.readTime()-s.retention {
		s.addRestored(s.shape.appendOlder(nil, c.Key, c.Time), bytes.Clone(stored), from)
	}
	if ok && versionOf(stored) == nil {
		s.addRestored(appendTombstone(nil, c.Key, from), nil, from)
	}
	s.restoredLatest[string(c.Key)] = len(s.restoring)
	s.addRestored(appendLatest(nil, c.Key), appendVersion(nil, c.Value), c.Time)
	if c.Value == nil {
		s.addRestored(appendTombstone(nil, c.Key, c.Time), emptyValue, c.Time)
	}
	return nil
}

func (s *Store) addRestored(key, value []byte, time int64) {
	s.restoring = append(s.restoring, storage.Change{Key: key, Value: value, Time: time})
}

// latestInRestore returns the latest version of a key, of the collected rows or else of the engine.
func (s *Store) latestInRestore(key []byte) (stored []byte, from int64, ok bool, err error) {
	if i, ok := s.restoredLatest[string(key)]; ok {
		return s.restoring[i].Value, s.restoring[i].Time, true, nil
	}
	s.key = appendLatest(s.key[:0], key)
	return s.Engine.Get(s.key)
}

// restoreOlder applies the put of a version that began before the latest one; see insertOlder. The
// checkpoint stays where it is: the rows that the engine gets here are only a part of the batch.
func (s *Store) restoreOlder(change storage.Change, latest int64) error {
	clear(s.restoredLatest)
	if err := s.applyRestored(s.checkpoint); err != nil {
		return err
	}
	from, to, ok, err := s.findOlder(change.Key, change.Time, latest)
	if err != nil {
		return err
	}
	if !ok {
		to, from = latest, latest
	}
	if from > change.Time {
		to = from
	} else if from < change.Time && change.Time > s.readTime()-s.retention {
		ended := s.shape.appendOlder(nil, change.Key, change.Time)
		// The changelog may be replayed over a flush that a crash interrupted: see alreadyFlushed.
		if later, err := s.alreadyFlushed(ended, from); err != nil {
			return err
		} else if !later {
			s.addRestored(ended, bytes.Clone(s.value), from)
		}
	}
	if to > s.readTime()-s.retention {
		s.addRestored(s.shape.appendOlder(nil, change.Key, to), appendVersion(nil, change.Value), change.Time)
	}
	return s.applyRestored(s.checkpoint)
}

// alreadyFlushed reports whether the engine has a row at that key whose version began after from.
//
// It has one after a flush that a crash interrupted: the flush had written this row, which the
// replay has not come to yet, and not the row after it, which still begins at from. Writing a
// version that began at from here would overwrite the newer one.
func (s *Store) alreadyFlushed(ended []byte, from int64) (bool, error) {
	_, began, ok, err := s.Engine.Get(ended)
	return ok && began > from, err
}
