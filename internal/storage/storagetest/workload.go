package storagetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/millstream-go/millstream/internal/storage"
)

// Workload is the changes of a store, epoch by epoch. They are the same for everyone who knows the
// seed, so a process can check what another has left.
type Workload struct{ Seed uint64 }

const (
	// EpochChanges is the number of changes in an epoch of a Workload.
	EpochChanges = 200
	workloadKeys = 3000
)

// Epoch returns the changes of epoch n, each of another key. Values name their epoch.
func (w Workload) Epoch(n int) []storage.Change {
	rnd := rand.New(rand.NewPCG(w.Seed, uint64(n)))
	changes := make([]storage.Change, 0, EpochChanges)
	for _, k := range rnd.Perm(workloadKeys)[:EpochChanges] {
		c := storage.Change{Key: fmt.Appendf(nil, "key %05d", k), Time: int64(n)}
		if rnd.IntN(5) > 0 {
			c.Value = append(fmt.Appendf(nil, "%d:", n), bytes.Repeat([]byte{'v'}, rnd.IntN(200))...)
		}
		changes = append(changes, c)
	}
	return changes
}

// Rows returns the store after the epochs before end.
func (w Workload) Rows(end int) map[string]Row {
	rows := map[string]Row{}
	for n := range end {
		for _, c := range w.Epoch(n) {
			if c.Value == nil {
				delete(rows, string(c.Key))
			} else {
				rows[string(c.Key)] = Row{Key: string(c.Key), Value: string(c.Value), Time: c.Time}
			}
		}
	}
	return rows
}

// Checkpoint returns where the changelog stands after the epochs before end.
func (w Workload) Checkpoint(end int) storage.Checkpoint {
	return Checkpoint(int64(end * EpochChanges))
}

// Write writes epoch n to e, and settles it.
func (w Workload) Write(e storage.Engine, n int) error {
	for _, c := range w.Epoch(n) {
		var err error
		if c.Value == nil {
			err = e.Delete(c.Key, c.Time)
		} else {
			err = e.Put(c.Key, c.Value, c.Time)
		}
		if err != nil {
			return err
		}
	}
	epoch, err := e.Cut(func(storage.Change) error { return nil })
	if err == nil {
		e.Settle(epoch, w.Checkpoint(n+1))
	}
	return err
}

// Restore replays what e lacks of the epochs before end.
func (w Workload) Restore(e storage.Engine, end int) error {
	c, _ := e.Checkpoint()
	if c.Offset%EpochChanges != 0 || c.Offset > w.Checkpoint(end).Offset {
		return fmt.Errorf("a checkpoint of %d when %d epochs are settled", c.Offset, end)
	}
	for n := int(c.Offset / EpochChanges); n < end; n++ {
		if err := e.Restore(w.Epoch(n), w.Checkpoint(n+1)); err != nil {
			return err
		}
	}
	return nil
}

// Check compares all rows of e with those of the epochs before end.
func (w Workload) Check(e storage.Engine, end int) error {
	want := w.Rows(end)
	for row, err := range e.Scan(storage.Range{}) {
		if err != nil {
			return err
		}
		got := Row{Key: string(row.Key), Value: string(row.Value), Time: row.Time}
		if want[got.Key] != got {
			return fmt.Errorf("got %.60v, want %.60v", got, want[got.Key])
		}
		delete(want, got.Key)
	}
	if len(want) > 0 {
		return fmt.Errorf("%d rows are missing", len(want))
	}
	return nil
}

// CheckAccepted returns an error when the store has a row of an epoch from end on: invariant 1 of
// storage.Engine.
func (w Workload) CheckAccepted(e storage.Engine, end int) error {
	for row, err := range e.Scan(storage.Range{}) {
		if err != nil {
			return err
		}
		if row.Time >= int64(end) {
			return fmt.Errorf("%q is of epoch %d, which is not settled", row.Key, row.Time)
		}
	}
	return nil
}
