package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Code moves on: what the defects are planted in has to be there, once.
func TestMutants_ApplyToTheCode(t *testing.T) {
	_, dir, l := loadCopy(t)
	for _, m := range everyMutant(l) {
		plantAndUndo(t, dir, m)
	}
	for _, p := range l.peers {
		assert.NotEmpty(t, p.pkg, p.name)
	}
}

// everyMutant returns the edits of all defects.
func everyMutant(l lists) []mutant {
	all := slices.Clone(l.mutants)
	for _, p := range l.peers {
		all = append(all, mutant{p.name, p.edits, false})
	}
	for _, w := range l.wrongs {
		all = append(all, mutant{w.oracle + ": " + w.fault, w.edits, false})
	}
	return all
}

// A defect that does not compile is found by nobody, and only when a sample draws it.
func TestMutants_Compile(t *testing.T) {
	root, dir, l := loadCopy(t)
	var all []string
	for _, m := range everyMutant(l) {
		all = append(all, m.packages()...)
	}
	packages := listPackages(t, root, all)
	for _, m := range everyMutant(l) {
		undo, err := m.plant(dir)
		require.NoError(t, err, m.name)
		for _, pkg := range m.packages() {
			assert.NoError(t, packages.typeCheck(dir, pkg), m.name)
		}
		require.NoError(t, undo(), m.name)
	}
}

// loadCopy returns this module, a copy of it, and all defects.
func loadCopy(t *testing.T) (root, dir string, l lists) {
	root, err := moduleRoot()
	require.NoError(t, err)
	dir = t.TempDir()
	require.NoError(t, copyModule(root, dir))
	l, err = load(root)
	require.NoError(t, err)
	return root, dir, l
}

// packages returns the folders of the packages whose code, and not only tests, the defect changes.
func (m mutant) packages() []string {
	var out []string
	for _, e := range m.edits {
		if !strings.HasSuffix(e.file, "_test.go") {
			out = append(out, path.Dir(e.file))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// goPackages are packages of this module and all that they import, as the go command lists them.
type goPackages struct {
	fset    *token.FileSet
	imports types.Importer      // from export data, each read once
	files   map[string][]string // import path to names of Go files
}

func listPackages(t *testing.T, root string, folders []string) goPackages {
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{join .GoFiles \" \"}}"}
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		args = append(args, "./"+folder)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, &problems)
	p := goPackages{fset: token.NewFileSet(), files: map[string][]string{}}
	export := map[string]string{}
	p.imports = importer.ForCompiler(p.fset, "gc", func(imported string) (io.ReadCloser, error) { return os.Open(export[imported]) })
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, fields, 3)
		export[fields[0]], p.files[fields[0]] = fields[1], strings.Fields(fields[2])
	}
	return p
}

// typeCheck checks a package as it stands below dir, with those that it imports as they are.
func (p goPackages) typeCheck(dir, pkg string) error {
	importPath := path.Join("github.com/millstream-go/millstream", pkg)
	var files []*ast.File
	for _, name := range p.files[importPath] {
		f, err := parser.ParseFile(p.fset, filepath.Join(dir, filepath.FromSlash(pkg), name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return fmt.Errorf("package %s has no files", importPath)
	}
	_, err := (&types.Config{Importer: p.imports, Sizes: types.SizesFor("gc", runtime.GOARCH)}).Check(importPath, p.fset, files, nil)
	return err
}

func plantAndUndo(t *testing.T, dir string, m mutant) {
	t.Helper()
	undo, err := m.plant(dir)
	require.NoError(t, err, m.name)
	require.NoError(t, undo(), m.name)
}

func TestParseDefect(t *testing.T) {
	d, err := parseDefect("Oracle: count\nDefect: it counts twice\n\nWhat for.\n\n--- a/x.go\n+++ b/x.go\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n@@ -9 +9,0 @@\n--- d\n")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"Oracle": "count", "Defect": "it counts twice"}, d.fields)
	assert.Equal(t, []edit{{"x.go", "a\nb\n", "a\nc\n"}, {"x.go", "-- d\n", ""}}, d.edits)
	for _, bad := range []string{"", "Defect: x\n", "x\n\n--- a/x\n+++ b/x\n@@ @@\n", "Defect: x\n\n--- a/x\n+++ b/x\n+y\n", "Defect: x\n\n--- a/x\n+++ b/x\n@@ @@\ny\n"} {
		_, err := parseDefect(bad)
		assert.Error(t, err, "%q", bad)
	}
}

func TestJudge_ReadsOutput(t *testing.T) {
	for out, want := range map[string]verdict{
		"x\n    sim_test.go:1: seed 17: twice: e5 was copied 2 times\n": {true, "17", "twice: e5 was copied 2 times"},
		"history hangs after 30s of real time\nseed 8, gentle\n":        {true, "8", "history hangs after 30s of real time"},
		"panic: deadlock\n\tTestHistories/of/seed=9\n":                  {true, "9", "panic: deadlock"},
		"faults that never took effect":                                 {},
	} {
		assert.Equal(t, want, judge([]byte(out)), "%q", out)
	}
}
