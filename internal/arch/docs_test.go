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
