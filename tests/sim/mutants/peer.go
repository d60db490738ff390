package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// peer is a defect of another library and the test that has to find it here.
type peer struct {
	name     string
	pkg, run string // what go test is told
	edits    []edit
}

// limit is how long a test may take to find a defect: some of them wait for what will never come.
const limit = 40 * time.Second

// runPeers plants one defect at a time and has its test fail.
func (l lists) runPeers(dir, only string) error {
	missed := 0
	for _, p := range l.peers {
		if only != "" && p.name != only {
			continue
		}
		began := time.Now()
		how, err := p.try(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if how == "" {
			missed++
			how = "NOT FOUND"
		}
		fmt.Printf("%-56s %s (%v)\n", p.name, how, time.Since(began).Round(time.Second))
	}
	if missed > 0 {
		return fmt.Errorf("%d defects were not found", missed)
	}
	return nil
}

// try runs p's test, which has to pass, plants p, runs it again, and takes p out. It returns how the test failed, nothing when it did not.
func (p peer) try(dir string) (how string, err error) {
	if out, err := p.test(dir, 5*limit); err != nil { // on a busy machine it may take long
		return "", fmt.Errorf("without the defect: %w\n%s", err, out)
	}
	undo, err := mutant{p.name, p.edits, false}.plant(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, undo()) }()
	build := exec.Command("go", "test", "-run", "^$", p.pkg) // a defect that does not compile is found by nobody
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	out, err := p.test(dir, limit)
	if err == nil {
		return "", nil
	}
	return failed(out), nil
}

func (p peer) test(dir string, limit time.Duration) ([]byte, error) {
	test := exec.Command("go", "test", "-short", "-count=1", "-timeout", limit.String(), "-run", p.run, p.pkg)
	test.Dir = dir
	return test.CombinedOutput()
}

// failed returns the line of go test's output that says what failed.
func failed(out []byte) string {
	for line := range bytes.Lines(out) {
		text := strings.TrimSpace(string(line))
		if strings.HasPrefix(text, "--- FAIL: ") || strings.HasPrefix(text, "panic: ") {
			return fmt.Sprintf("%.100s", text)
		}
	}
	return "it failed"
}
