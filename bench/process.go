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
	"time"
)

// memory is the most that a process had resident, in MB: its own memory, and pages of files that it has mapped.
type memory struct{ anon, file float64 }

// process is a child under way.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
	mem   chan memory
	ended chan struct{}
}

func start(ctx context.Context, s spec) (*process, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self), mem: make(chan memory, 1), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch()
	return p, nil
}

// watch keeps the highest values of /proc/PID/status.
func (p *process) watch() {
	var top memory
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m := resident(p.cmd.Process.Pid)
			top = memory{max(top.anon, m.anon), max(top.file, m.file)}
		case <-p.ended:
			p.mem <- top
			return
		}
	}
}

func resident(pid int) (m memory) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m
	}
	for l := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(l, ":")
		to := map[string]*float64{"RssAnon": &m.anon, "RssFile": &m.file}[name]
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
		return fmt.Errorf("the child said %q: %w", l, errors.Join(err, p.cmd.Wait()))
	}
	return nil
}

// wait returns what the child reports when it has ended.
func (p *process) wait() (r result, m memory, err error) {
	err = json.NewDecoder(p.out).Decode(&r)
	close(p.ended)
	m = <-p.mem
	if e := p.cmd.Wait(); e != nil {
		err = e
	}
	p.stdin.Close()
	return r, m, err
}

// measure runs a child to its end.
func measure(ctx context.Context, s spec) (result, memory, error) {
	p, err := start(ctx, s)
	if err != nil {
		return result{}, memory{}, err
	}
	r, m, err := p.wait()
	if err != nil {
		return r, m, fmt.Errorf("%s, %s: %w", s.Workload, s.Kind, err)
	}
	return r, m, nil
}
