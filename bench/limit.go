package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// memoryGroup is a control group whose processes together get so much memory and no more, the page cache of what they read and
// write included: for state that is larger than memory.
type memoryGroup struct{ dir string }

// limited is the group of all programs that are measured, one after the other; nil: they may use what there is.
var limited *memoryGroup

func newMemoryGroup(limit int64) (*memoryGroup, error) {
	const root = "/sys/fs/cgroup"
	name, files := fmt.Sprintf("millstream-bench-%d", os.Getpid()), map[string]string{}
	g := &memoryGroup{}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		g.dir = filepath.Join(root, name)
		files["memory.max"], files["memory.swap.max"] = fmt.Sprint(limit), "0"
		// It may be there already, or not be ours to change: then the limit below cannot be written.
		_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0)
	} else {
		g.dir = filepath.Join(root, "memory", name)
		files["memory.limit_in_bytes"], files["memory.swappiness"] = fmt.Sprint(limit), "0"
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("-limit needs root, and a memory controller in %s: %w", root, err)
	}
	for name, value := range files {
		err := os.WriteFile(filepath.Join(g.dir, name), []byte(value), 0)
		if err != nil && !(name == "memory.swap.max" && errors.Is(err, fs.ErrNotExist)) { // without swap there is no such file
			return nil, errors.Join(fmt.Errorf("-limit: %w", err), g.remove())
		}
	}
	return g, nil
}

// add puts a process that has just begun into the group. What files have in the page cache until then, because this program
// verified them or wrote topics, would not count: it is dropped.
func (g *memoryGroup) add(pid int) error {
	syscall.Sync()
	return errors.Join(
		os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0),
		os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0),
	)
}

// remove removes the group, whose processes have ended.
func (g *memoryGroup) remove() error { return os.Remove(g.dir) }
