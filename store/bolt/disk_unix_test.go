//go:build unix

package bolt_test

import (
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/memory"
)

// TestFullDisk gives a process a limit on the size of files, which is what a full disk looks like.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.db")
	out, err := output(t, child("full disk", path, 5, 0))
	require.NoError(t, err)
	assert.Equal(t, "whole\n", out)
}

func limitFiles(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = n
	if n == 0 {
		l.Cur = l.Max
	}
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
}

// childFullDisk writes until flushes fail, goes on reading and writing, and flushes when there is room again.
func childFullDisk(w workload, path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := limitFiles(400 << 10); err != nil {
		return err
	}
	o := writerOptions(path)
	o.Budget = memory.NewBudget(8 << 20)
	e, _, err := bolt.Open(o)
	if err != nil {
		return err
	}
	n := 0
	for ; e.Flush(true) == nil; n++ {
		if n == 1000 {
			return errors.New("the disk never got full")
		}
		if err := w.write(e, n); err != nil {
			return err
		}
	}
	if e.Healthy() == nil {
		return errors.New("the disk is full, and the store says it is well")
	}
	if o.Budget.Used() == 0 {
		return errors.New("the memtable that could not be written is gone")
	}
	for range 10 {
		if err := w.write(e, n); err != nil {
			return err
		}
		if n++; e.Flush(true) == nil {
			return errors.New("a flush to a full disk went well")
		}
	}
	if err := w.check(e, n); err != nil {
		return fmt.Errorf("while the disk is full: %w", err)
	}
	if err := limitFiles(0); err != nil {
		return err
	}
	if err := e.Flush(true); err != nil {
		return fmt.Errorf("with room on the disk: %w", err)
	}
	if err := errors.Join(e.Healthy(), w.check(e, n), e.Close(true)); err != nil {
		return err
	}
	return childVerify(w, path, n)
}
