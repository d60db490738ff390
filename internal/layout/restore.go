package layout

import (
	"bytes"
	"fmt"

	"github.com/millstream-go/millstream/store"
)

// restoreVersions puts what the changelog has, in its order. Latest versions are collected, and handed to the engine together; a
// version that belongs before the latest one has to see what is there, so that what was collected is handed over first.
func (l *Log) restoreVersions(changes []store.Change, c store.Checkpoint) error {
	if l.latest == nil {
		l.latest = map[string]int{}
	}
	for _, ch := range changes {
		if err := l.restoreVersion(ch); err != nil {
			return fmt.Errorf("store %q: %w", l.name, err)
		}
	}
	clear(l.latest)
	return l.apply(c)
}

func (l *Log) restoreVersion(c store.Change) error {
	l.observed = max(l.observed, c.Time)
	stored, from, ok, err := l.restored(c.Key)
	if err != nil {
		return err
	}
	if ok && c.Time < from {
		return l.restoreOlder(c, from)
	}
	if ok && c.Time > from && c.Time > l.observed-l.retention {
		l.add(l.shape.appendOlder(nil, c.Key, c.Time), bytes.Clone(stored), from)
	}
	if ok && versionOf(stored) == nil {
		l.add(appendGone(nil, c.Key, from), nil, from)
	}
	l.latest[string(c.Key)] = len(l.changes)
	l.add(appendLatest(nil, c.Key), appendVersion(nil, c.Value), c.Time)
	if c.Value == nil {
		l.add(appendGone(nil, c.Key, c.Time), emptyValue, c.Time)
	}
	return nil
}

func (l *Log) add(key, value []byte, time int64) {
	l.changes = append(l.changes, store.Change{Key: key, Value: value, Time: time})
}

// restored returns the latest version of a key as far as the restore is.
func (l *Log) restored(key []byte) (stored []byte, from int64, ok bool, err error) {
	if i, ok := l.latest[string(key)]; ok {
		return l.changes[i].Value, l.changes[i].Time, true, nil
	}
	l.key = appendLatest(l.key[:0], key)
	return l.Engine.Get(l.key)
}

// restoreOlder puts a version that began before the latest one. What is collected belongs to records up to here; where the changelog
// stands is said with the last of them.
func (l *Log) restoreOlder(c store.Change, latest int64) error {
	clear(l.latest)
	if err := l.apply(l.at); err != nil {
		return err
	}
	from, to, ok, err := l.older(c.Key, c.Time, latest)
	if err != nil {
		return err
	}
	if !ok {
		to, from = latest, latest
	}
	if from > c.Time {
		to = from
	} else if from < c.Time && c.Time > l.observed-l.retention {
		ended := l.shape.appendOlder(nil, c.Key, c.Time)
		if later, err := l.flushed(ended, from); err != nil {
			return err
		} else if !later {
			l.add(ended, bytes.Clone(l.value), from)
		}
	}
	if to > l.observed-l.retention {
		l.add(l.shape.appendOlder(nil, c.Key, to), appendVersion(nil, c.Value), c.Time)
	}
	return l.apply(l.at)
}

// flushed is whether a row of an older version is there that began after from: a flush that was cut off has written it, and what was put
// before it, whose turn has been, but not yet the row behind it, which still begins at from.
func (l *Log) flushed(ended []byte, from int64) (bool, error) {
	_, began, ok, err := l.Engine.Get(ended)
	return ok && began > from, err
}
