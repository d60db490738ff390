package main

import (
	"fmt"
	"path/filepath"

	"github.com/millstream-go/millstream/internal/storage"
)

// order checks that the records of each partition come in the order in which they were loaded: none twice, none late.
type order [partitions]int64

func newOrder() (o order) {
	for i := range o {
		o[i] = -1
	}
	return o
}

func (o *order) see(p int32, n int64) error {
	if n <= o[p] {
		return fmt.Errorf("partition %d: record %d after %d", p, n, o[p])
	}
	o[p] = n
	return nil
}

// storedByApp calls f with the rows of the files of a store, all partitions, and counts them.
func (s spec) storedByApp(name string, f func(storage.Entry) error) (rows int64, err error) {
	for p := range partitions {
		e, err := openEngine(filepath.Join(s.StateDir, s.appID(), name), p)
		if err != nil {
			return rows, fmt.Errorf("open partition %d: %w", p, err)
		}
		for entry, err := range e.Scan(storage.Range{}) {
			if err == nil {
				err = f(entry)
			}
			if err != nil {
				e.Close(false)
				return rows, err
			}
			rows++
		}
		if err := e.Close(false); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func expect(err error, what string, got, want int64) error {
	if err == nil && got != want {
		err = fmt.Errorf("%d records, not %d", got, want)
	}
	if err != nil {
		return fmt.Errorf("verify %q: %w", what, err)
	}
	return nil
}
