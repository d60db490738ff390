package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-go/millstream/stream"
)

const (
	idleTopic      = "idle"
	idlePartitions = 200
	idleApps       = 3
)

var idleProgram = program{app: func(b *stream.Builder, s spec) { pass(b, idleTopic, s.out(passedTopic)) }}

// measureIdle measures what Apps cost that have nothing to do: three applications that each read a topic of 200 partitions. The broker
// alone is measured before.
func (b *bench) measureIdle(ctx context.Context, _ int64) error {
	if err := b.createWith(ctx, idlePartitions, idleTopic); err != nil {
		return err
	}
	if err := b.createOut(ctx, passedTopic); err != nil {
		return err
	}
	before, err := b.brokerCPU(ctx, b.idle)
	if err != nil {
		return err
	}
	var apps []*process
	defer func() {
		for _, p := range apps {
			p.kill()
		}
	}()
	for i := range idleApps {
		s := spec{Workload: "idle", Kind: kindApp, Broker: b.broker, Round: strconv.Itoa(i)}
		if s.StateDir = b.state(s) + "-" + s.Round; i == 0 {
			s.Profile = b.profile // they are alike, and a profile has the workload's name
		}
		p, err := startReady(ctx, s)
		if err != nil {
			return err
		}
		apps = append(apps, p)
	}
	if _, err := b.brokerCPU(ctx, b.settle); err != nil {
		return err
	}
	began := time.Now()
	var own time.Duration
	for _, p := range apps {
		cpu, err := cpuOf(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		own -= cpu
	}
	broker, err := b.brokerCPU(ctx, b.idle)
	if err != nil {
		return err
	}
	for _, p := range apps {
		cpu, err := cpuOf(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		own += cpu
	}
	b.report.say(fmt.Sprintf("%d idle Apps of %d partitions: the broker takes %.1f%% of a core, %.1f%% without them; each App %.2f%%.",
		idleApps, idlePartitions, 100*broker, 100*before, 100*own.Seconds()/time.Since(began).Seconds()/idleApps))
	for _, p := range apps {
		if _, err := p.stop(); err != nil {
			return err
		}
	}
	return nil
}

// brokerCPU returns how many cores the broker takes during a time.
func (b *bench) brokerCPU(ctx context.Context, during time.Duration) (cores float64, err error) {
	from, err := cpuOf(b.brokerPID)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case <-time.After(during):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	to, err := cpuOf(b.brokerPID)
	return (to - from).Seconds() / time.Since(began).Seconds(), err
}

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on all platforms that Go runs on.
const clockTick = time.Second / 100

// cpuOf returns the user and system time of a process.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may have spaces.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}
