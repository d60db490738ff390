package powerloss

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

const (
	optionExitKill = 0x100000 // PTRACE_O_EXITKILL
	syscallStop    = syscall.SIGTRAP | 0x80
	atRenameat2    = 316
)

// Trace runs a process to its end. It returns in order what the process did to files below root, an
// empty directory, and what it wrote to its standard output. All paths of the process have to be
// absolute. A write counts when its call has returned; a sync covers the writes that had returned
// when it began.
func Trace(cmd *exec.Cmd, root string) ([]Op, error) {
	// Only the thread that started a process may follow it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// In a process group apart, so that Wait4 waits for this process and its threads alone, and not
	// for those of other tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &tracer{
		root: root, pid: cmd.Process.Pid, entered: map[int]*syscall.PtraceRegs{}, fds: map[int]*descriptor{},
		names: map[string]int{}, syncing: map[int]int{},
	}
	defer func() { _ = cmd.Process.Release() }() // its end has been waited for here
	return t.follow()
}

type tracer struct {
	root    string
	pid     int
	entered map[int]*syscall.PtraceRegs // by thread: how the call began that it is in
	fds     map[int]*descriptor
	names   map[string]int // of files that there are
	files   int
	syncing map[int]int // by thread: how many ops there were when its sync began
	ops     []Op
}

type descriptor struct {
	path   string
	file   int // negative: a directory
	offset int64
}

func (t *tracer) follow() ([]Op, error) {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &status, syscall.WALL, nil); err != nil {
		return nil, fmt.Errorf("wait for the start: %w", err)
	}
	options := syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | optionExitKill
	if err := syscall.PtraceSetOptions(t.pid, options); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	if err := syscall.PtraceSyscall(t.pid, 0); err != nil {
		return nil, err
	}
	for {
		thread, err := syscall.Wait4(-t.pid, &status, syscall.WALL, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("wait: %w", err)
		}
		if status.Exited() || status.Signaled() {
			delete(t.entered, thread)
			if thread != t.pid {
				continue
			}
			if status.Signaled() || status.ExitStatus() != 0 {
				return t.ops, fmt.Errorf("the process ended with status %d, signal %v", status.ExitStatus(), status.Signal())
			}
			return t.ops, nil
		}
		deliver := 0
		switch sig := status.StopSignal(); sig {
		case syscallStop:
			if err := t.onStop(thread); err != nil {
				return nil, err
			}
		case syscall.SIGTRAP, syscall.SIGSTOP: // a thread was made, or begins
		default:
			deliver = int(sig)
		}
		// The thread may have ended meanwhile, with all others.
		if err := syscall.PtraceSyscall(thread, deliver); err != nil && !errors.Is(err, syscall.ESRCH) {
			return nil, err
		}
	}
}

// onStop handles the beginning or the end of a call.
func (t *tracer) onStop(thread int) error {
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(thread, &regs); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			return nil
		}
		return err
	}
	began := t.entered[thread]
	if began == nil {
		t.entered[thread] = &regs
		t.syncing[thread] = len(t.ops)
		// Here and not when the call returns: the number is free within the call, and another thread may
		// return with it from an open first. Its file would be forgotten, and its writes missing.
		if regs.Orig_rax == syscall.SYS_CLOSE {
			delete(t.fds, int(regs.Rdi))
		}
		return nil
	}
	delete(t.entered, thread)
	if result := int64(regs.Rax); result >= 0 {
		return t.onReturn(thread, began, result)
	}
	return nil
}

// onReturn handles a call that has succeeded.
func (t *tracer) onReturn(thread int, call *syscall.PtraceRegs, result int64) error {
	// Go's runtime and package os use these calls on files. Others that would change a file are
	// errors, so that a trace never misses a change.
	switch call.Orig_rax {
	case syscall.SYS_OPENAT:
		return t.onOpen(call.Rsi, int(call.Rdx), int(result))
	case syscall.SYS_WRITE:
		return t.onWrite(int(call.Rdi), -1, call.Rsi, result)
	case syscall.SYS_PWRITE64:
		return t.onWrite(int(call.Rdi), int64(call.R10), call.Rsi, result)
	case syscall.SYS_LSEEK:
		if d := t.fds[int(call.Rdi)]; d != nil {
			d.offset = result
		}
	case syscall.SYS_READ:
		if d := t.fds[int(call.Rdi)]; d != nil {
			d.offset += result
		}
	case syscall.SYS_FTRUNCATE:
		if d := t.fds[int(call.Rdi)]; d != nil {
			t.add(Op{Kind: Truncate, File: d.file, Offset: int64(call.Rsi)})
		}
	case syscall.SYS_FSYNC, syscall.SYS_FDATASYNC:
		if d := t.fds[int(call.Rdi)]; d != nil {
			t.onSync(d, t.syncing[thread])
		}
	case syscall.SYS_MKDIRAT, syscall.SYS_MKDIR:
		at := call.Rsi
		if call.Orig_rax == syscall.SYS_MKDIR {
			at = call.Rdi
		}
		path, ok, err := t.path(at)
		if ok {
			t.add(Op{Kind: Link, File: -1, Path: path})
		}
		return err
	case syscall.SYS_UNLINKAT, syscall.SYS_UNLINK:
		at := call.Rsi
		if call.Orig_rax == syscall.SYS_UNLINK {
			at = call.Rdi
		}
		path, ok, err := t.path(at)
		if ok {
			delete(t.names, path)
			t.add(Op{Kind: Unlink, Path: path})
		}
		return err
	case syscall.SYS_RENAME:
		return t.onRename(call.Rdi, call.Rsi)
	case syscall.SYS_RENAMEAT, atRenameat2:
		return t.onRename(call.Rsi, call.R10)
	case syscall.SYS_DUP, syscall.SYS_DUP2, syscall.SYS_DUP3, syscall.SYS_WRITEV, syscall.SYS_FALLOCATE:
		if t.fds[int(call.Rdi)] != nil {
			return fmt.Errorf("system call %d on a file is not known here", call.Orig_rax)
		}
	}
	return nil
}

func (t *tracer) add(o Op) { t.ops = append(t.ops, o) }

// onSync adds a sync where it began: what was written since may not be safe.
func (t *tracer) onSync(d *descriptor, began int) {
	o := Op{Kind: Sync, File: d.file, Path: d.path}
	if d.file < 0 {
		o.Kind = SyncDir
	}
	// It is moved behind what others did meanwhile when none of that concerns it; else it stands where
	// it began.
	for _, later := range t.ops[began:] {
		if later.File == d.file || o.Kind == SyncDir {
			t.ops = append(t.ops[:began:began], append([]Op{o}, t.ops[began:]...)...)
			t.shift(began)
			return
		}
	}
	t.add(o)
}

// shift corrects where calls of other threads began, when an op was inserted before. Without it a sync
// of another file that began later would seem to have begun before that file's last write.
func (t *tracer) shift(inserted int) {
	for thread, began := range t.syncing {
		if began > inserted {
			t.syncing[thread]++
		}
	}
}

func (t *tracer) onOpen(at uint64, flags, fd int) error {
	path, ok, err := t.path(at)
	delete(t.fds, fd)
	if !ok || err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(t.root, path))
	if err != nil {
		return err
	}
	if info.IsDir() {
		t.fds[fd] = &descriptor{path: path, file: -1}
		return nil
	}
	file, known := t.names[path]
	if !known {
		file = t.files
		t.files++
		t.names[path] = file
		t.add(Op{Kind: Link, File: file, Path: path})
	} else if flags&syscall.O_TRUNC != 0 {
		t.add(Op{Kind: Truncate, File: file})
	}
	t.fds[fd] = &descriptor{path: path, file: file}
	return nil
}

func (t *tracer) onWrite(fd int, offset int64, from uint64, n int64) error {
	d := t.fds[fd]
	if d == nil && fd != 1 {
		return nil
	}
	data := make([]byte, n)
	if err := t.read(data, from); err != nil {
		return err
	}
	if d == nil {
		t.add(Op{Kind: Output, File: -1, Data: data})
		return nil
	}
	if offset < 0 {
		offset = d.offset
		d.offset += n
	}
	t.add(Op{Kind: Write, File: d.file, Offset: offset, Data: data})
	return nil
}

func (t *tracer) onRename(from, to uint64) error {
	a, ok, err := t.path(from)
	if !ok || err != nil {
		return err
	}
	b, _, err := t.path(to)
	if err != nil {
		return err
	}
	if filepath.Dir(a) != filepath.Dir(b) {
		return fmt.Errorf("a rename from %q to %q, another directory, is not known here", a, b)
	}
	if file, known := t.names[a]; known {
		t.names[b] = file
		delete(t.names, a)
	}
	t.add(Op{Kind: Rename, File: -1, Path: a, To: b})
	return nil
}

// path returns the path at an address of the process, below root, and reports whether it is one.
func (t *tracer) path(at uint64) (string, bool, error) {
	b := make([]byte, syscall.PathMax)
	n, err := t.readSome(b, at)
	end := bytes.IndexByte(b[:n], 0)
	if end < 0 {
		return "", false, fmt.Errorf("no path at %x: %w", at, err)
	}
	path, below := strings.CutPrefix(string(b[:end]), t.root+"/")
	if string(b[:end]) == t.root {
		return ".", true, nil
	}
	return filepath.Clean(path), below, nil
}

func (t *tracer) read(b []byte, at uint64) error {
	n, err := t.readSome(b, at)
	if n == len(b) {
		return nil
	}
	return err
}

func (t *tracer) readSome(b []byte, at uint64) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", t.pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(b, int64(at))
}
