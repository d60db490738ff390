package arch

import (
	"go/ast"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// noExamples are functions that construct nothing.
var noExamples = map[string]bool{"failure.DropReason": true}

// Each constructor of windows, references to stores, their options, bounds of ranges, buffers and policies has an example that runs.
func TestConstructorsHaveExamples(t *testing.T) {
	all, fset := sources(t)
	examples := map[string]bool{} // as "window.ExampleTumbling"
	for _, s := range all {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && s.isTest() && hasOutput(s.file, f) {
				dir := filepath.Dir(s.path)
				name, _, _ := strings.Cut(f.Name.Name, "_") // ExampleFrom_negative is one of From
				examples[dir+"."+name] = true
			}
		}
	}
	n := 0
	for _, s := range all {
		dir := filepath.Dir(s.path)
		if s.isTest() || dir != "window" && dir != "store" && dir != "failure" && s.path != "table/buffer.go" {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			switch {
			case !ok || f.Recv != nil || !f.Name.IsExported() || noExamples[dir+"."+f.Name.Name]:
			case strings.Contains(f.Doc.Text(), "For the packages of this module"):
			default:
				n++
				assert.True(t, examples[dir+".Example"+f.Name.Name], "%s: no example with output of %s", fset.Position(f.Pos()), f.Name.Name)
			}
		}
	}
	assert.Greater(t, n, 35)
}

// hasOutput reports whether an example says what it prints: without that it is compiled and not run.
func hasOutput(file *ast.File, f *ast.FuncDecl) bool {
	for _, g := range file.Comments {
		if g.Pos() > f.Body.Lbrace && g.End() < f.Body.Rbrace && strings.Contains(g.Text(), "Output:") {
			return true
		}
	}
	return false
}
