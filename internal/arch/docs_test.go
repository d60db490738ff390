package arch

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
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
	for _, page := range []string{"naming.md", "migration.md", "time.md", "differences.md"} {
		text, err := os.ReadFile(filepath.Join(root(t), "docs", page))
		require.NoError(t, err)
		for _, m := range called.FindAllStringSubmatch(string(text), -1) {
			n++
			assert.True(t, there[m[1]+"."+m[2]], "%s names %s", page, m[0])
		}
	}
	assert.Greater(t, n, 200)
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
