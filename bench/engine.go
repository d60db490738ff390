package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	memtable "github.com/millstream-go/millstream/internal/storage/memtable"
)

// openEngine opens the store of a partition as Apps do, with the default budget. A store that was damaged is an error.
func openEngine(dir string, partition int) (storage.Engine, error) {
	e, info, err := lsm.Open(lsm.Options{
		Path:  filepath.Join(dir, fmt.Sprint(partition)),
		Store: statedir.Identity(filepath.Base(filepath.Dir(dir)), filepath.Base(dir)), Partition: int32(partition),
		Budget: memtable.NewBudget(0), Pace: lsm.NewPace(lsm.PaceBytes),
	})
	if err != nil {
		return nil, err
	}
	if info.Reason != "" {
		return nil, errors.Join(fmt.Errorf("damaged: %v", info.Reason), e.Close(false))
	}
	return e, nil
}
