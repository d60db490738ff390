package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// begin notes on what machine a run is, and what was asked for.
func (t *report) begin(o options) {
	if o.quick {
		t.about = append(t.about, "A smoke test: these figures mean nothing.")
	}
	if o.limit > 0 {
		t.about = append(t.about, fmt.Sprintf("Each program and its page cache were limited to %d MB.", o.limit))
	}
	t.about = append(t.about,
		machine(),
		fmt.Sprintf("Arguments: `%s`.", strings.Join(os.Args[1:], " ")),
		fmt.Sprintf("Load average at the start: %s.", load()))
}

// end notes how busy the machine was.
func (t *report) end() {
	t.about = append(t.about, fmt.Sprintf("Load average at the end: %s.", load()))
}

func machine() string {
	return fmt.Sprintf("%d virtual cores (%s), %s of memory, Linux %s, %s.", runtime.NumCPU(), cpuModel(), memTotal(), kernel(), runtime.Version())
}

func cpuModel() string {
	if m := field("/proc/cpuinfo", "model name"); m != "" {
		return m
	}
	return runtime.GOARCH
}

func memTotal() string {
	kb, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return "an unknown amount"
	}
	return fmt.Sprintf("%d GiB", (kb+1<<19)>>20)
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-")
	return version
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// field returns a value of a file with lines "name: value".
func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
