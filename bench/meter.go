package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// mark is what a process has used up to a moment.
type mark struct {
	At            time.Time
	CPU           time.Duration
	Allocs, Bytes uint64
}

var heap = []string{"/gc/heap/allocs:objects", "/gc/heap/allocs:bytes", "/gc/heap/tiny/allocs:objects"}

// now reads the process's own use. It does not stop the world.
func now() mark {
	m := mark{At: time.Now()}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		m.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	s := make([]metrics.Sample, len(heap))
	for i, name := range heap {
		s[i].Name = name
	}
	metrics.Read(s)
	m.Allocs, m.Bytes = s[0].Value.Uint64()+s[2].Value.Uint64(), s[1].Value.Uint64()
	return m
}

// window is the part of a run that is measured: from when the first records have gone through (spec.Warm) to the last commit. Safe for use by several goroutines.
type window struct {
	mu         sync.Mutex
	begin, end mark
	from       int64 // records before begin
}

func (w *window) start(records int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin, w.from = now(), records
}

// extend moves the end to this moment.
func (w *window) extend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = now()
}

// sinceEnd returns how long ago the window ended.
func (w *window) sinceEnd() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.end.At)
}

// result is what a child reports of a workload, or of one of its phases.
type result struct {
	Phase         string // of a store's workloads
	Records       int64  // that are measured
	Processed     int64  // all records
	Seconds       float64
	CPU           float64 // µs a record, of those measured
	Allocs, Bytes float64 // a record, of those measured
	Whole         float64 // CPU seconds of the whole process
	Written       int64   // bytes to files, by the whole process; of a store, in the phase
	Disk          int64   // bytes of the files that are left
}

func (w *window) result(records int64) result {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := records - w.from
	r := result{
		Records: n, Processed: records, Seconds: w.end.At.Sub(w.begin.At).Seconds(), Whole: now().CPU.Seconds(), Written: written(),
	}
	per := float64(max(n, 1)) // idle Apps have none
	r.CPU = float64((w.end.CPU - w.begin.CPU).Nanoseconds()) / 1000 / per
	r.Allocs = float64(w.end.Allocs-w.begin.Allocs) / per
	r.Bytes = float64(w.end.Bytes-w.begin.Bytes) / per
	return r
}

// perInput makes figures by processed record ones by record of the input. What an input record leads to is about the same all the
// time.
func (r result) perInput(s spec) result {
	if s.each() == 1 || r.Processed == 0 {
		return r
	}
	each := float64(r.Processed) / float64(s.Records)
	r.Records = int64(float64(r.Records) / each)
	r.CPU, r.Allocs, r.Bytes = r.CPU*each, r.Allocs*each, r.Bytes*each
	return r
}

// written returns what this process has written to files so far, those that it has mapped included; -1 if the kernel does not say.
func written() int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return -1
	}
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, "write_bytes: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				return -1
			}
			return n
		}
	}
	return -1
}

// diskUse returns what the files under a directory take.
func diskUse(dir string) (total int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a file that is gone takes nothing
		}
		if info, err := d.Info(); err == nil {
			total += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return total
}

// startProfile begins the profiles that were asked for; the function returned writes them.
func (s spec) startProfile() (func() error, error) {
	if s.Profile == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(s.Profile, 0o755); err != nil {
		return nil, err
	}
	name := filepath.Join(s.Profile, s.Workload+"-"+s.Kind+s.Engine)
	runtime.MemProfileRate = 64 << 10
	f, err := os.Create(name + ".cpu.prof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			return err
		}
		m, err := os.Create(name + ".mem.prof")
		if err != nil {
			return err
		}
		defer m.Close()
		return pprof.Lookup("allocs").WriteTo(m, 0)
	}, nil
}
