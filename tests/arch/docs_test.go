package arch

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var named = regexp.MustCompile(`\b(Test|Fuzz|Example)[A-Z][A-Za-z0-9_]+…?`)

// A test that the documents name as evidence has to be there.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	all, _ := sources(t)
	there := map[string]bool{}
	for _, s := range all {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				there[f.Name.Name] = true
			}
		}
	}
	docs, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	require.NoError(t, err)
	formats, err := filepath.Glob(filepath.Join(root(t), "docs", "*", "*.md"))
	require.NoError(t, err)
	n := 0
	for _, path := range append(append(docs, formats...), filepath.Join(root(t), "README.md"), filepath.Join(root(t), "DESIGN.md")) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, name := range named.FindAllString(string(text), -1) {
			if strings.HasSuffix(name, "…") { // a family
				continue
			}
			if slices.Contains([]string{"TestInputTopic", "TestOutputTopic", "TestRecord"}, name) { // of Kafka Streams
				continue
			}
			n++
			assert.True(t, there[name], "%s names %s", filepath.Base(path), name)
		}
	}
	assert.Greater(t, n, 50)
}

var called = regexp.MustCompile(`\b(stream|table|join|window|store|serde|failure|topology|testdriver|millstream)\.([A-Z][A-Za-z0-9]*)`)

// What the pages for users call has to be there.
func TestDocumentsNameFunctionsThatExist(t *testing.T) {
	all, _ := sources(t)
	there := map[string]bool{}
	for _, s := range all {
		if s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			for _, name := range declared(d) {
				there[s.file.Name.Name+"."+name] = true
			}
		}
	}
	n := 0
	for _, page := range []string{"concepts.md", "differences.md", "migration.md", "naming.md", "operators.md", "time.md"} {
		text, err := os.ReadFile(filepath.Join(root(t), "docs", page))
		require.NoError(t, err)
		for _, m := range called.FindAllStringSubmatch(string(text), -1) {
			n++
			assert.True(t, there[m[1]+"."+m[2]], "%s names %s", page, m[0])
		}
	}
	assert.Greater(t, n, 200)
}

// The page of operators is an index: an operator that it lacks is not found.
func TestOperatorsPageNamesEachOperator(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "operators.md"))
	require.NoError(t, err)
	all, fset := sources(t)
	n := 0
	for _, s := range all {
		if dir := filepath.Dir(s.path); s.isTest() || dir != "stream" && dir != "table" && dir != "join" {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.IsExported() {
				n++
				assert.Regexp(t, `[`+"`"+`.]`+f.Name.Name+`\b`, string(page), "%s: %s", fset.Position(f.Pos()), f.Name.Name)
			}
		}
	}
	assert.Greater(t, n, 80)
}

// inRepository are paths of files and folders in code spans: `+"`internal/dsl/plan/plan.go`, `stream/`"+`. A star stands for anything.
var inRepository = regexp.MustCompile("`((?:bench|docs|examples|failure|internal|join|scripts|serde|store|stream|table|testdriver|tests|topology|window)/[A-Za-z0-9_./*-]*)`")

// Files and folders that documents name have to be there.
func TestDocumentsNameFilesThatExist(t *testing.T) {
	top := root(t)
	n := 0
	for _, path := range pages(t) {
		rel, err := filepath.Rel(top, path)
		require.NoError(t, err)
		if rel = filepath.ToSlash(rel); strings.Contains(rel, "testdata/") || rel == "CHANGELOG.md" { // a record of what was
			continue
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range inRepository.FindAllStringSubmatch(string(text), -1) {
			n++
			found, err := filepath.Glob(filepath.Join(top, filepath.FromSlash(m[1])))
			require.NoError(t, err)
			assert.NotEmpty(t, found, "%s names %s", rel, m[1])
		}
	}
	assert.Greater(t, n, 100)
}

var placed = regexp.MustCompile("`([A-Za-z0-9_/]+\\.go)`, `([A-Za-z0-9_]+)`:")

// The changes that turn a test red are named by file and function, which have to be there.
func TestDocumentsNameFunctionsInTheirFiles(t *testing.T) {
	all, _ := sources(t)
	there := map[string]bool{} // file and function, the file with and without its folder
	for _, s := range all {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				there[s.path+" "+f.Name.Name] = true
				there[filepath.Base(s.path)+" "+f.Name.Name] = true
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "testing.md"))
	require.NoError(t, err)
	found := placed.FindAllStringSubmatch(string(text), -1)
	for _, m := range found {
		assert.True(t, there[m[1]+" "+m[2]], "docs/testing.md names %s in %s", m[2], m[1])
	}
	assert.Greater(t, len(found), 20)
}

var (
	mapRow     = regexp.MustCompile("(?m)^\\| (`[^|]*/`|root) \\| (.*) \\|$")
	mapFolder  = regexp.MustCompile("`([A-Za-z0-9_/]+)/`")
	fileInside = regexp.MustCompile("`([A-Za-z0-9_*]+\\.go)`")
)

// The file map of DESIGN.md names files without their folder, which is in front of the row.
func TestFileMapNamesFilesThatExist(t *testing.T) {
	top := root(t)
	text, err := os.ReadFile(filepath.Join(top, "DESIGN.md"))
	require.NoError(t, err)
	_, fileMap, ok := strings.Cut(string(text), "\n## File map\n")
	require.True(t, ok)
	n := 0
	for _, row := range mapRow.FindAllStringSubmatch(fileMap, -1) {
		folders := []string{top}
		for _, m := range mapFolder.FindAllStringSubmatch(row[1], -1) {
			folders = append(folders, filepath.Join(top, filepath.FromSlash(m[1])))
		}
		if row[1] != "root" {
			folders = folders[1:]
		}
		for _, m := range fileInside.FindAllStringSubmatch(row[2], -1) {
			n++
			assert.True(t, slices.ContainsFunc(folders, func(folder string) bool {
				found, err := filepath.Glob(filepath.Join(folder, m[1]))
				return err == nil && len(found) > 0
			}), "DESIGN.md names %s in %s", m[1], row[1])
		}
	}
	assert.Greater(t, n, 200)
}

// Users find in Stats.Dropped what this page explains.
func TestConceptsExplainEveryDropReason(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "concepts.md"))
	require.NoError(t, err)
	all, _ := sources(t)
	n := 0
	for _, s := range all {
		if s.path != "internal/graph/drop_reason.go" {
			continue
		}
		ast.Inspect(s.file, func(x ast.Node) bool {
			if text, ok := x.(*ast.BasicLit); ok {
				n++
				assert.Contains(t, string(page), "`"+strings.Trim(text.Value, `"`)+"`")
			}
			return true
		})
	}
	assert.Greater(t, n, 10)
}

// declared returns the names at package level that d declares.
func declared(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}
