package statedir

import (
	"errors"
	"os"
	"time"

	"github.com/millstream-go/millstream/internal/storage/lsm"
)

// RemoveUnused removes the files of closed stores that were last used before a time, and for which unneeded says
// so. It returns the stores whose files it has removed, and the rest of those that were last used before that time.
// What was moved aside, since it was damaged, stays.
//
// unneeded is asked when nobody can open the store any more: what it says may change at any time.
func (d *Directory) RemoveUnused(before time.Time, unneeded func(Name) bool) (removed, rest []Name, err error) {
	names, err := d.List()
	errs := []error{err}
	for _, n := range names {
		info, err := os.Stat(d.storePath(n))
		if err != nil || !info.ModTime().Before(before) {
			errs = append(errs, err)
			continue
		}
		entry := d.reserveClosed(n)
		if entry == nil {
			continue
		}
		if !unneeded(n) {
			rest = append(rest, n)
			d.releaseIdle(n, entry, nil)
			continue
		}
		err = lsm.Remove(d.storePath(n))
		d.releaseIdle(n, entry, nil)
		if errs = append(errs, err); err == nil {
			removed = append(removed, n)
		}
	}
	return removed, rest, errors.Join(errs...)
}

// reserveClosed marks a closed store as in use, so that no task opens it meanwhile. It returns nil for one that is
// open.
func (d *Directory) reserveClosed(n Name) *openStore {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.stores[n] != nil {
		return nil
	}
	e := &openStore{kind: OnDisk, inUse: true, maintained: make(chan struct{})}
	d.stores[n] = e
	return e
}

// touch notes in the time of a store's directory when it was used last.
func (d *Directory) touch(n Name, now time.Time) {
	if d.path != "" {
		// A store without files has no directory. Where it fails, the time is that of the last flush.
		_ = os.Chtimes(d.storePath(n), now, now)
	}
}
