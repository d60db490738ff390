package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// wrong is a fault in one operator, and the oracle that has to find it.
type wrong struct {
	oracle string // the operator's name in tests/oracle
	fault  string
	edits  []edit
}

// composed is the oracle of faults that only neighbours of an operator show: the random programs of tests/composed.
const composed = "composed programs"

// runOracles plants one fault at a time and has its oracle find it.
func (l lists) runOracles(dir, only string, histories int) error {
	missed := 0
	if only == "" {
		if err := l.covered(dir); err != nil {
			return err
		}
	}
	fmt.Printf("%-34s %-66s %s\n", "oracle", "fault", "found")
	for _, w := range l.wrongs {
		if only != "" && w.oracle != only {
			continue
		}
		began := time.Now()
		v, err := w.try(dir, histories)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", w.oracle, w.fault, err)
		}
		if !v.found {
			missed++
		}
		fmt.Printf("%-34s %-66s %s (%v)\n", w.oracle, w.fault, v.when(histories), time.Since(began).Round(time.Second))
	}
	if missed > 0 {
		return fmt.Errorf("%d faults were not found", missed)
	}
	return nil
}

// covered says which oracles have no fault to find.
func (l lists) covered(dir string) error {
	list := exec.Command("go", "test", "-run", "^TestOracles$", "-v", "./tests/oracle", "-histories", "0")
	list.Dir = dir
	out, err := list.CombinedOutput()
	if err != nil {
		return fmt.Errorf("list: %w\n%s", err, out)
	}
	var errs []error
	names := passed.FindAllSubmatch(out, -1)
	for _, m := range names {
		if !slices.ContainsFunc(l.wrongs, func(w wrong) bool { return w.oracle == string(m[1]) }) {
			errs = append(errs, fmt.Errorf("no fault for the oracle %s", m[1]))
		}
	}
	if len(names) == 0 {
		errs = append(errs, errors.New("there are no oracles"))
	}
	return errors.Join(errs...)
}

// try plants w, has its oracle look for it, and takes it out again.
func (w wrong) try(dir string, histories int) (v verdict, err error) {
	undo, err := mutant{w.fault, w.edits, false}.plant(dir)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	where, run, enough := "oracle", "TestOracles/"+w.oracle, []string{"-histories", fmt.Sprint(histories)}
	if w.oracle == composed {
		where, run, enough = "composed", "TestComposedPrograms", []string{"-programs", fmt.Sprint(5 * histories)}
	}
	binary := filepath.Join(dir, where+".test")
	build := exec.Command("go", "test", "-trimpath", "-c", "-o", binary, "./tests/"+where)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return v, fmt.Errorf("build: %w\n%s", err, out)
	}
	args := []string{"-test.run", "^" + strings.ReplaceAll(run, "/", "$/^") + "$", "-test.v", "-test.timeout", "5m", "-seed", "1"}
	test := exec.Command(binary, append(args, enough...)...)
	test.Dir = filepath.Join(dir, "tests", where)
	out, err := test.CombinedOutput()
	if err == nil && !strings.Contains(string(out), "--- PASS: "+run) {
		return v, fmt.Errorf("there is no such oracle")
	}
	if m := differs.FindSubmatch(out); m != nil {
		return verdict{found: true, seed: string(m[1])}, nil
	}
	if err != nil {
		return v, fmt.Errorf("it failed, and not by a history:\n%s", out)
	}
	return v, nil
}

var passed = regexp.MustCompile(`--- PASS: TestOracles/(\S+)`)

var differs = regexp.MustCompile(`-seed \d+(?:, history| -program) (\d+): `)
