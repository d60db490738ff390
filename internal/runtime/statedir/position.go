package statedir

import (
	"errors"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
)

// Positions returns where the changelogs stand for the stores that nobody uses: idle ones, in memory, and closed ones,
// in their files. Stores in use are left out, and so are those of which no position is known.
func (d *Directory) Positions() (map[Name]storage.Checkpoint, error) {
	out := map[Name]storage.Checkpoint{}
	open := map[Name]bool{}
	d.mu.Lock()
	for n, entry := range d.stores {
		open[n] = true
		if entry.inUse || entry.engine == nil {
			continue
		}
		// Whoever acquires the engine does that under mu, so nobody has it here.
		if c, ok := entry.engine.Position(); ok {
			out[n] = c
		}
	}
	d.mu.Unlock()
	names, err := d.List()
	errs := []error{err}
	for _, n := range names {
		if open[n] {
			continue
		}
		// Somebody may open the store meanwhile: its root is replaced as a whole, so what is read is what it was once.
		c, ok, err := lsm.ReadCheckpoint(lsm.Options{
			Path: d.storePath(n), Store: Identity(d.application, n.Store), Partition: n.Partition,
		})
		if ok {
			out[n] = c
		}
		// A damaged file is found, and moved aside, when the store is opened.
		if err != nil && !errors.Is(err, storage.ErrDamaged) {
			errs = append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}
