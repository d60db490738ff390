package main

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
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

// window is the part of a run that is measured: from when a quarter of the records has gone through, as in the measurement of
// Kafka Streams, to the last commit. Safe for use by several goroutines.
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

// result is what a child reports.
type result struct {
	Records       int64 // in the window
	Seconds       float64
	CPU           float64 // µs a record, in the window
	Allocs, Bytes float64 // a record, in the window
	Whole         float64 // CPU seconds of the whole process, its start and end included
}

func (w *window) result(records int64) result {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := records - w.from
	r := result{Records: n, Seconds: w.end.At.Sub(w.begin.At).Seconds(), Whole: now().CPU.Seconds()}
	per := float64(n)
	r.CPU = float64((w.end.CPU - w.begin.CPU).Nanoseconds()) / 1000 / per
	r.Allocs = float64(w.end.Allocs-w.begin.Allocs) / per
	r.Bytes = float64(w.end.Bytes-w.begin.Bytes) / per
	return r
}

// startProfile begins the profiles that were asked for; the function returned writes them.
func (s spec) startProfile() (func() error, error) {
	if s.Profile == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(s.Profile, 0o755); err != nil {
		return nil, err
	}
	name := filepath.Join(s.Profile, s.Workload+"-"+s.Kind)
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
