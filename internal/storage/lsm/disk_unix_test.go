//go:build unix

package lsm_test

import (
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

// TestFlush_FullDisk gives a process a limit on the size of files, which looks like a full disk.
func TestFlush_FullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0")
	out, err := output(t, child("full disk", path, 5, 0))
	require.NoError(t, err)
	assert.NotContains(t, out, "aside")
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

// childFullDisk flushes until there is no room, reads and writes on, and flushes when there is room
// again.
func childFullDisk(w storagetest.Workload, path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	o := crashOptions(path)
	o.Budget = memtable.NewBudget(8 << 20)
	e, _, err := lsm.Open(o)
	if err != nil {
		return err
	}
	n := 0
	for ; n < 10; n++ {
		if err := errors.Join(w.Write(e, n), e.Flush(true)); err != nil {
			return err
		}
	}
	if err := limitFiles(8 << 10); err != nil {
		return err
	}
	for ; n < 20; n++ {
		if err := w.Write(e, n); err != nil {
			return err
		}
		if err := e.Flush(true); err == nil || !strings.Contains(err.Error(), "file too large") {
			return fmt.Errorf("a flush to a full disk: %w", err)
		}
	}
	if e.Healthy() == nil {
		return errors.New("the disk is full, and the store is healthy")
	}
	if o.Budget.Used() == 0 {
		return errors.New("the memtable that could not be written is not there")
	}
	if c, _ := e.Checkpoint(); c.Offset != w.Checkpoint(10).Offset {
		return fmt.Errorf("the checkpoint is %d", c.Offset)
	}
	if err := w.Check(e, n); err != nil {
		return fmt.Errorf("while the disk is full: %w", err)
	}
	if err := limitFiles(0); err != nil {
		return err
	}
	if err := e.Flush(true); err != nil {
		return fmt.Errorf("with room on the disk: %w", err)
	}
	merged(e)
	if err := errors.Join(e.Healthy(), w.Check(e, n), e.Close(true)); err != nil {
		return err
	}
	return childVerify(w, path, n)
}
