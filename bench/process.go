package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// memory is the most that a process had resident, in MB: its own memory, and pages of files that it has mapped.
type memory struct{ Anon, File float64 }

// process is a child under way.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	ended chan struct{} // closed when nothing is watched any more
	mu    sync.Mutex
	top   memory
}

// startChild starts this program again, for one workload.
func startChild(ctx context.Context, s spec) (*process, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	return start(cmd)
}

func start(cmd *exec.Cmd) (p *process, err error) {
	p = &process{cmd: cmd, ended: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReaderSize(out, 1<<16)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if limited != nil {
		if err := limited.add(p.cmd.Process.Pid); err != nil {
			return nil, errors.Join(fmt.Errorf("limit the memory: %w", err), p.cmd.Process.Kill(), p.cmd.Wait())
		}
	}
	go p.watch()
	return p, nil
}

// watch keeps the highest values of /proc/PID/status.
func (p *process) watch() {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m := resident(p.cmd.Process.Pid)
			p.mu.Lock()
			p.top = memory{max(p.top.Anon, m.Anon), max(p.top.File, m.File)}
			p.mu.Unlock()
		case <-p.ended:
			return
		}
	}
}

// peak returns the highest values since the last call.
func (p *process) peak() memory {
	p.mu.Lock()
	defer p.mu.Unlock()
	top := p.top
	p.top = memory{}
	return top
}

func resident(pid int) (m memory) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m
	}
	for l := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(l, ":")
		to := map[string]*float64{"RssAnon": &m.Anon, "RssFile": &m.File}[name]
		if to == nil {
			continue
		}
		kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		*to = kb / 1024
	}
	return m
}

// ready waits for the line that says that the child can be used.
func (p *process) ready() error {
	l, err := p.out.ReadString('\n')
	if err != nil || strings.TrimSpace(l) != "ready" {
		p.kill()
		return fmt.Errorf("the child said %q: %w", l, errors.Join(err, p.cmd.Wait()))
	}
	return nil
}

// startReady starts a child that runs until it is stopped, and waits until it can be used.
func startReady(ctx context.Context, s spec) (*process, error) {
	p, err := startChild(ctx, s)
	if err != nil {
		return nil, err
	}
	return p, p.ready()
}

// next returns the figures that the child reports next; io.EOF when it has ended well.
func (p *process) next() (r result, err error) {
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		return r, json.Unmarshal(line, &r)
	}
	p.watchNoMore()
	if e := p.cmd.Wait(); e != nil {
		err = e
	}
	p.stdin.Close()
	return r, err
}

// wait returns what the child reports when it has ended.
func (p *process) wait() (r result, err error) {
	r, err = p.next()
	if err == nil {
		if _, err = p.next(); err == io.EOF {
			err = nil
		}
	}
	return r, err
}

// stop tells the child to end, by the end of its input, and waits.
func (p *process) stop() (result, error) {
	p.stdin.Close()
	return p.wait()
}

// end is stop for a child that has reported everything before.
func (p *process) end() error {
	p.stdin.Close()
	_, err := p.next()
	if err == io.EOF {
		return nil
	}
	if err == nil {
		err = errors.New("the child reports more than was expected")
	}
	return err
}

// kill ends a child that has not ended.
func (p *process) kill() {
	p.watchNoMore()
	p.cmd.Process.Kill()
}

func (p *process) watchNoMore() {
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
}

// measure runs a child to its end.
func measure(ctx context.Context, s spec) (result, memory, error) {
	p, err := startChild(ctx, s)
	if err != nil {
		return result{}, memory{}, err
	}
	r, err := p.wait()
	if err != nil {
		return r, memory{}, fmt.Errorf("%s, %s: %w", s.Workload, s.Kind, err)
	}
	if s.StateDir != "" {
		r.Disk = diskUse(s.StateDir)
	}
	return r, p.peak(), nil
}
