// Command mutants shows that the simulation finds what it is there to find: it plants one defect at a time in a copy of this module, runs
// histories until one fails, and prints after how many that was and which check it failed. It ends with 1 when a defect is not
// found. Defects are the patches in testdata.
//
//	go run ./tests/sim/mutants [-histories 200] [-only NAME]
//
// With -peers it plants defects of other libraries instead, and runs the tests that docs/testing.md names beside them. With -oracles
// it plants faults in operators, and has the oracles of tests/oracle find each within as many histories. With -sample it draws a few of all
// three kinds.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	histories := flag.Int("histories", 200, "how many histories a defect may take to be found")
	only := flag.String("only", "", "the one defect to plant; empty: all, one after the other")
	others := flag.Bool("peers", false, "plant defects of other libraries, each to be found by a test")
	oracles := flag.Bool("oracles", false, "plant faults in operators, each to be found by its oracle")
	sample := flag.Int("sample", 0, "plant as many defects, drawn from all lists")
	seed := flag.Uint64("seed", 0, "which sample is drawn; 0: another each time")
	flag.Parse()
	if err := run(*histories, *only, *others, *oracles, *sample, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(histories int, only string, others, oracles bool, sample int, seed uint64) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	l, err := load(root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "millstream-mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyModule(root, dir); err != nil {
		return err
	}
	switch {
	case sample > 0:
		return l.runSample(dir, sample, seed)
	case others:
		return l.runPeers(dir, only)
	case oracles:
		return l.runOracles(dir, only, histories)
	}
	return l.runSimulation(dir, only, histories)
}

// runSimulation plants one defect at a time and has the simulation find it.
func (l lists) runSimulation(dir, only string, histories int) error {
	missed := 0
	fmt.Printf("%-40s %-28s %s\n", "defect", "found", "by the check")
	for _, m := range l.mutants {
		if only != "" && m.name != only {
			continue
		}
		began := time.Now()
		v, err := m.try(dir, histories)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if !v.found {
			missed++
		}
		fmt.Printf("%-40s %-28s %s (%v)\n", m.name, v.when(histories), v.check, time.Since(began).Round(time.Second))
	}
	if missed > 0 {
		return fmt.Errorf("%d defects were not found", missed)
	}
	return nil
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// copyModule copies what the module is compiled from.
func copyModule(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case filepath.Ext(rel) != ".go" && rel != "go.mod" && rel != "go.sum":
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
}

// edit replaces one text of one file, which must be there exactly once.
type edit struct{ file, old, new string }

// apply makes the edit below dir and returns what takes it back.
func (e edit) apply(dir string) (undo func() error, err error) {
	path := filepath.Join(dir, filepath.FromSlash(e.file))
	before, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(before, []byte(e.old)); n != 1 {
		return nil, fmt.Errorf("%s has %d times, not once:\n%s", e.file, n, e.old)
	}
	after := bytes.Replace(before, []byte(e.old), []byte(e.new), 1)
	return func() error { return os.WriteFile(path, before, 0o644) }, os.WriteFile(path, after, 0o644)
}

// mutant is a defect.
type mutant struct {
	name  string
	edits []edit
	once  bool // it is to be found by histories with exactly once
}

// plant makes the edits of m below dir and returns what takes them back.
func (m mutant) plant(dir string) (undo func() error, err error) {
	var undos []func() error
	undo = func() error {
		var errs []error
		for i := len(undos) - 1; i >= 0; i-- {
			errs = append(errs, undos[i]())
		}
		return errors.Join(errs...)
	}
	for _, e := range m.edits {
		u, err := e.apply(dir)
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		undos = append(undos, u)
	}
	return undo, nil
}

// verdict is what the simulation said of a mutant.
type verdict struct {
	found bool
	seed  string // of the history that failed
	check string
}

func (v verdict) when(histories int) string {
	if !v.found {
		return fmt.Sprintf("NOT in %d histories", histories)
	}
	return "in history " + v.seed
}

// try plants m, runs histories, and takes it out again.
func (m mutant) try(dir string, histories int) (v verdict, err error) {
	undo, err := m.plant(dir)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	binary := filepath.Join(dir, "sim.test")
	build := exec.Command("go", "test", "-trimpath", "-c", "-o", binary, "./tests/sim")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return v, fmt.Errorf("build: %w\n%s", err, out)
	}
	run := "^TestHistories$"
	if m.once {
		run = "^TestHistoriesExactlyOnce$"
	}
	test := exec.Command(binary, "-test.run", run, "-test.timeout", "30m", "-stop", "-histories", fmt.Sprint(histories))
	test.Dir = filepath.Join(dir, "tests", "sim")
	out, err := test.CombinedOutput()
	if err == nil {
		return v, nil
	}
	return judge(out), nil
}

var (
	finding = regexp.MustCompile(`seed (\d+): ([a-z ]+): (.*)`)
	ended   = regexp.MustCompile(`(?m)^(panic: .*|history hangs .*|fatal error: .*)$`)
	running = regexp.MustCompile(`seed[ =](\d+)`)
)

// judge reads what a run that has failed has printed. What says no more than that some kind of fault never came does not count.
func judge(out []byte) verdict {
	if f := finding.FindSubmatch(out); f != nil {
		return verdict{true, string(f[1]), fmt.Sprintf("%s: %.100s", f[2], f[3])}
	}
	if e := ended.FindSubmatch(out); e != nil {
		seed := "?"
		if s := running.FindSubmatch(out); s != nil {
			seed = string(s[1])
		}
		return verdict{true, seed, fmt.Sprintf("%.100s", e[1])}
	}
	return verdict{}
}
