package global

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// damageFound returns why a file of a store cannot be trusted, nil while nothing is known.
func (f *Follower) damageFound() error {
	for _, s := range f.stores {
		if err := s.Damaged(); err != nil {
			return err
		}
	}
	return nil
}

// isDamage reports whether err comes from a damaged file. A row that does not decode is damage
// where a restore may bring it back: the follower declares the file damaged then.
func (f *Follower) isDamage(err error) bool {
	if err == nil || f.damageFound() != nil || errors.Is(err, storage.ErrDamaged) {
		return err != nil
	}
	row, ok := errors.AsType[*codec.DecodeError](err)
	if !ok || f.stores[row.Store] == nil || f.cfg.Restorable == nil || !f.cfg.Restorable(row.Store, 0) {
		return false
	}
	return f.stores[row.Store].Distrust(err)
}

// The pauses between two restores because of damage grow: a disk that damages each file that is
// written to it is not to keep the App busy.
const (
	repairPause    = time.Second
	repairPauseMax = time.Minute
)

// repair releases the damaged stores, which moves their files aside, and acquires new ones. Until
// these have what the topic has, reads of all stores of the sub-topology return an error: they are
// written by the same records. repairs is how often that was done before.
func (f *Follower) repair(ctx context.Context, repairs int) error {
	reason := f.damageFound()
	if reason == nil { // the error is of an engine that was replaced meanwhile
		reason = storage.ErrDamaged
	}
	f.ready.Store(new(make(chan struct{})))
	for name, shared := range f.stores {
		shared.suspend(fmt.Errorf("global store %q is being restored: %w", name, reason))
	}
	if f.task != nil {
		_ = f.task.Close(false) // its errors are logged
	}
	if repairs > 0 {
		_ = kafka.Sleep(ctx, min(repairPause<<min(repairs-1, 6), repairPauseMax)) // readTopic finds out that ctx has ended
	}
	for _, st := range f.cfg.Sub.Stores {
		shared := f.stores[st.Name]
		if shared.Damaged() == nil {
			continue
		}
		shared.Close()
		f.cfg.Release(st.Name)
		engine, err := f.cfg.Acquire(st, func() { f.inbox.Put(message{}) })
		if err == nil {
			err = shared.replace(engine)
		}
		if err != nil {
			return fmt.Errorf("open global store %q: %w", st.Name, err)
		}
	}
	f.inbox.Drain(nil)
	return f.undoAll()
}

// undoAll undoes what the stores have not settled. Those that are not damaged go on from there.
func (f *Follower) undoAll() error {
	for name, writer := range f.writers {
		if err := writer.Undo(); err != nil {
			return fmt.Errorf("global store %q: %w", name, err)
		}
	}
	return nil
}
