package state

import (
	"errors"
	"time"

	"github.com/millstream-go/millstream/store"
)

// CloseIdle flushes and closes the stores that nobody has used for IdleTime, and lets the others that are idle give memory back. The
// runtime calls it now and then.
func (d *Directory) CloseIdle(now time.Time) error {
	var err error
	for _, n := range d.idle() {
		e := d.take(n)
		if e == nil {
			continue
		}
		engine := e.engine
		if old := now.Sub(e.since) >= IdleTime; old {
			err = errors.Join(err, engine.Close(true))
			engine = nil
		} else {
			_ = engine.Flush(false)
			trim(engine)
		}
		d.putBack(n, e, engine)
	}
	return err
}

func (d *Directory) idle() []Name {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []Name
	for n, e := range d.stores {
		if !e.lent {
			names = append(names, n)
		}
	}
	return names
}

// take marks an idle store as lent; nil when it is no longer idle.
func (d *Directory) take(n Name) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.stores[n]
	if e == nil || e.lent {
		return nil
	}
	e.lent = true
	return e
}

func (d *Directory) putBack(n Name, e *entry, engine store.Engine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if engine == nil {
		delete(d.stores, n)
		return
	}
	e.lent = false
}
