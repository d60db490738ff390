//go:build kafka

package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
)

// asMember, when it is set, makes this binary a process of the bank: a settings.
const asMember = "MILLSTREAM_CHAOS_MEMBER"

func TestMain(m *testing.M) {
	if text := os.Getenv(asMember); text != "" {
		os.Exit(serve(text))
	}
	goleak.VerifyTestMain(m)
}

// settings are what a process is told.
type settings struct {
	Broker, StateDir string
	Guarantee        millstream.Guarantee
}

// report is a line that a process writes to its standard output.
type report struct {
	Started  bool      `json:",omitempty"` // it handles signals from here on
	Assigned *[]string `json:",omitempty"` // all tasks, when there is a change
	Restored int64     `json:",omitempty"` // records that were applied to a store
	Full     bool      `json:",omitempty"` // from the start of its changelog
	Dropped  string    `json:",omitempty"`
}

// serve is a process of the bank, until SIGTERM.
func serve(text string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	signal.Ignore(syscall.SIGXFSZ) // as a full disk, a file that may not grow gives an error
	json.NewEncoder(os.Stdout).Encode(report{Started: true})
	go func() { // when the test has died
		io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	var s settings
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = run(ctx, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the App has ended:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, s settings) error {
	top, err := bank()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(r report) {
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(os.Stdout).Encode(r)
	}
	app, err := millstream.New(top, millstream.Config{
		ApplicationID: application, Brokers: []string{s.Broker}, StateDir: s.StateDir, Guarantee: s.Guarantee, Workers: 2,
		SessionTimeout: session, HeartbeatInterval: session / 10,
		// Changelogs are compacted all the time.
		TopicConfig: map[string]string{"segment.ms": "3000", "min.cleanable.dirty.ratio": "0.01"},
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Events: millstream.Events{
			Assigned: func(tasks []string) { say(report{Assigned: &tasks}) },
			Restore: func(r millstream.RestoreInfo) {
				if r.Done == r.End && r.Records > 0 {
					say(report{Restored: r.Records, Full: r.Full})
				}
			},
			Dropped: func(d millstream.DropInfo) { say(report{Dropped: fmt.Sprintf("%s: %d: %s", d.Step, d.N, d.Reason)}) },
		},
	})
	if err != nil {
		return err
	}
	// Stores of a few rows flush, split their files and merge them. What a power loss costs is not tested here, and syncs take what rounds have.
	return app.Run(statedir.With(ctx, statedir.Options{NoSync: true, PageSize: 1024, FileBytes: 16 << 10, Factor: 3, ReplayBytes: 16 << 10}))
}

// member is a process of the bank, or the place of one that does not run.
type member struct {
	number int
	dir    string // its state, and copies of that
	log    *os.File
	report func(member int, r report)

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	exited chan struct{} // closed when it has ended
	asked  bool          // to end
	copies []string      // of the state directory, the latest last
}

func (m *member) state() string { return filepath.Join(m.dir, "state") }

func (m *member) start(s settings) error {
	s.StateDir = m.state()
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), asMember+"="+string(text))
	// Pipes: with files, those would be limited as the files of stores are.
	m.cmd.Stderr = struct{ io.Writer }{m.log}
	out, in := io.Pipe()
	m.cmd.Stdout = in
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return err
	}
	fmt.Fprintf(m.log, "--- %s: start\n", time.Now().Format(time.StampMilli))
	if err := m.cmd.Start(); err != nil {
		return err
	}
	cmd, exited, read, started := m.cmd, make(chan struct{}), make(chan struct{}), make(chan struct{})
	m.exited, m.asked = exited, false
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r report
			if json.Unmarshal(lines.Bytes(), &r) != nil {
				continue
			}
			if r.Started {
				close(started)
			}
			m.report(m.number, r)
		}
		io.Copy(io.Discard, out)
	}()
	go func() {
		defer close(exited)
		err := cmd.Wait()
		in.Close()
		<-read
		fmt.Fprintf(m.log, "--- %s: ended: %v\n", time.Now().Format(time.StampMilli), err)
	}()
	// One that is asked to stop before it handles the signal would be killed by it.
	select {
	case <-started:
		return nil
	case <-exited:
		return fmt.Errorf("%s has ended before it began: %v", who(m.number), cmd.ProcessState)
	case <-time.After(patience):
		return fmt.Errorf("%s has not begun within %v", who(m.number), patience)
	}
}

func (m *member) runs() bool { return m.exited != nil }

// ended reports whether the process has ended although nobody has asked it to.
func (m *member) ended() bool {
	if !m.runs() || m.asked {
		return false
	}
	select {
	case <-m.exited:
		return true
	default:
		return false
	}
}

func (m *member) signal(s syscall.Signal) error { return m.cmd.Process.Signal(s) }

// end ends the process by a signal, and waits for it. A process that was asked to stop has to do so without an error.
func (m *member) end(s syscall.Signal) error {
	if !m.runs() {
		return nil
	}
	m.asked = true
	if err := m.signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.exited:
	case <-time.After(patience):
		return fmt.Errorf("%s does not end within %v", who(m.number), patience)
	}
	m.exited = nil
	m.report(m.number, report{Assigned: new([]string)})
	if s == syscall.SIGTERM && !m.cmd.ProcessState.Success() {
		return fmt.Errorf("%s has ended with an error when it was stopped: %v", who(m.number), m.cmd.ProcessState)
	}
	return nil
}

// limit is how much a file of the process may have. What is longer already stays as it is.
func (m *member) limit(bytes uint64) error {
	var l unix.Rlimit
	if err := unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &l); err != nil {
		return err
	}
	l.Cur = min(bytes, l.Max)
	return unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_FSIZE, &l, nil)
}

// keptCopies is how many copies of a state directory there are.
const keptCopies = 3

// copyState makes a copy of the state of a process that does not run.
func (m *member) copyState() error {
	if _, err := os.Stat(m.state()); err != nil {
		return nil
	}
	to := filepath.Join(m.dir, fmt.Sprintf("copy-%d", time.Now().UnixNano()))
	if err := os.CopyFS(to, os.DirFS(m.state())); err != nil {
		return err
	}
	m.copies = append(m.copies, to)
	if len(m.copies) > keptCopies {
		os.RemoveAll(m.copies[0])
		m.copies = slices.Delete(m.copies, 0, 1)
	}
	return nil
}

func (m *member) wipe() error { return os.RemoveAll(m.state()) }

// setBack replaces the state by the oldest copy.
func (m *member) setBack() error {
	if len(m.copies) == 0 {
		return nil
	}
	if err := m.wipe(); err != nil {
		return err
	}
	return os.CopyFS(m.state(), os.DirFS(m.copies[0]))
}

// lostMembership reports whether a process has logged that since an offset of its log: its session may end by itself on a machine that is busy with other things.
func (m *member) lostMembership(from int64) bool {
	b := make([]byte, 64<<20)
	n, _ := m.log.ReadAt(b, from)
	text := string(b[:n])
	return strings.Contains(text, "the group no longer has this member") || strings.Contains(text, "dropped from the group") ||
		strings.Contains(text, "the tasks of a worker begin again")
}
