package statedir

import (
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/storage"
)

// CloseIdle flushes and closes the stores that nobody has used for IdleTime. It flushes the other
// idle ones, too, and frees what memory they can do without. The runtime calls it now and then.
func (d *Directory) CloseIdle(now time.Time) error {
	var err error
	for _, n := range d.idleStores() {
		entry := d.reserveIdle(n)
		if entry == nil {
			continue
		}
		engine := entry.engine
		if old := now.Sub(entry.idleSince) >= IdleTime; old {
			err = errors.Join(err, d.closeStore(n, engine, true))
			d.touch(n, entry.idleSince)
			engine = nil
		} else {
			_ = engine.Flush(false)
			dropCached(engine)
		}
		d.releaseIdle(n, entry, engine)
	}
	return err
}

func (d *Directory) idleStores() []Name {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []Name
	for n, entry := range d.stores {
		if !entry.inUse {
			names = append(names, n)
		}
	}
	return names
}

// reserveIdle marks an idle store as in use, so that no task gets it meanwhile. It returns nil when
// the store is no longer idle.
func (d *Directory) reserveIdle(n Name) *openStore {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.stores[n]
	if e == nil || e.inUse {
		return nil
	}
	e.inUse, e.maintained = true, make(chan struct{})
	return e
}

// releaseIdle ends what reserveIdle began. A nil engine means that the store was closed. idleSince
// stays.
func (d *Directory) releaseIdle(n Name, e *openStore, engine storage.Engine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(e.maintained)
	e.maintained = nil
	if engine == nil {
		delete(d.stores, n)
		return
	}
	e.inUse = false
}
