package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A defect is a file below testdata: fields of the form "Name: value", an empty line, what it does to whom in words, and a patch of
// the code as `git diff` writes it. The folder says who has to find it:
//
//	sim/NAME.patch             the simulation; Defect
//	exactly-once/NAME.patch    the simulation, with exactly once; Defect
//	peers/NAME.patch           a test; Defect, Package and Test
//	oracle/ORACLE/NAME.patch   an oracle of tests/oracle, or the composed programs; Oracle and Defect
//
// Line numbers in a patch do not count. Each of its hunks has to be found in its file exactly once, so that code can move around it,
// and a defect whose code has changed is noticed (TestMutants_ApplyToTheCode).
type defect struct {
	path   string // below testdata
	fields map[string]string
	edits  []edit
}

// readDefects reads all defects below one folder of testdata, in the order of their names.
func readDefects(root, folder string) (all []defect, err error) {
	testdata := filepath.Join(root, "tests", "sim", "mutants", "testdata")
	err = filepath.WalkDir(filepath.Join(testdata, folder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(testdata, path)
		if err != nil {
			return err
		}
		one, err := parseDefect(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		one.path = filepath.ToSlash(rel)
		all = append(all, one)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("there are no defects in %s", folder)
	}
	return all, err
}

func parseDefect(text string) (defect, error) {
	d := defect{fields: map[string]string{}}
	text = strings.ReplaceAll(text, "\r\n", "\n") // a checkout on Windows
	head, patch, ok := strings.Cut(text, "\n--- ")
	if !ok {
		return d, errors.New("there is no patch")
	}
	fields, _, _ := strings.Cut(head, "\n\n")
	for line := range strings.SplitSeq(strings.TrimSpace(fields), "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			return d, fmt.Errorf("%q is no field", line)
		}
		d.fields[name] = value
	}
	var err error
	d.edits, err = parsePatch("--- " + patch)
	return d, err
}

// parsePatch makes an edit of each hunk.
func parsePatch(patch string) (edits []edit, err error) {
	var file string
	var was string
	for line := range strings.Lines(patch) {
		header := strings.HasPrefix(was, "--- a/") && strings.HasPrefix(line, "+++ b/")
		switch was = line; {
		case strings.HasPrefix(line, "--- a/"):
		case header:
			file = strings.TrimSpace(line[len("+++ b/"):])
		case strings.HasPrefix(line, "@@ "):
			edits = append(edits, edit{file: file})
		case len(edits) == 0:
			return nil, fmt.Errorf("%q stands before the first hunk", line)
		default:
			last := &edits[len(edits)-1]
			switch line[0] {
			case ' ':
				last.old += line[1:]
				last.new += line[1:]
			case '-':
				last.old += line[1:]
			case '+':
				last.new += line[1:]
			default:
				return nil, fmt.Errorf("%q is no line of a patch", line)
			}
		}
	}
	return edits, nil
}

// load reads all lists from the module at root.
func load(root string) (l lists, err error) {
	for _, f := range []struct {
		folder string
		add    func(defect)
	}{
		{"sim", func(d defect) { l.mutants = append(l.mutants, mutant{d.fields["Defect"], d.edits, false}) }},
		{"exactly-once", func(d defect) { l.mutants = append(l.mutants, mutant{d.fields["Defect"], d.edits, true}) }},
		{"peers", func(d defect) {
			l.peers = append(l.peers, peer{d.fields["Defect"], d.fields["Package"], "^(" + d.fields["Test"] + ")$", d.edits})
		}},
		{"oracle", func(d defect) { l.wrongs = append(l.wrongs, wrong{d.fields["Oracle"], d.fields["Defect"], d.edits}) }},
	} {
		all, err := readDefects(root, f.folder)
		if err != nil {
			return l, err
		}
		for _, d := range all {
			f.add(d)
		}
	}
	return l, nil
}

// lists are all defects, by who has to find them.
type lists struct {
	mutants []mutant
	peers   []peer
	wrongs  []wrong
}
