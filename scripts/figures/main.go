// Command figures measures how readable the Go code of a directory is. It prints one row for each
// directory given, to be compared with the same row of other code:
//
//	go run ./scripts/figures . ../bbolt $(go env GOROOT)/src/database/sql
//
// Tests, testdata, generated and vendored files are left out.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	longFunction = 20  // lines; functions of this length and more are expected to explain themselves
	longLine     = 120 // columns; a tab is one
)

// figures are counts over all files of a directory.
type figures struct {
	files                int
	lines, commentLines  int // neither has blank lines
	longLines            int
	functions, silent    int // of longFunction lines and more; those of them without any comment inside
	identifiers, letters int // uses and declarations; those of one lower-case letter
	exports, documented  int
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: figures DIRECTORY...")
		os.Exit(2)
	}
	fmt.Println("| code | files | lines | comment lines | 20+ line functions with no comment inside | lines > 120 " +
		"columns | one-letter identifiers | exports documented |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, dir := range os.Args[1:] {
		f, err := measure(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, "figures:", err)
			os.Exit(1)
		}
		fmt.Println(f.row(name(dir)))
	}
}

// name returns the last part of dir, also where dir is "." or ends in "..".
func name(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Base(dir)
}

func (f *figures) row(name string) string {
	return fmt.Sprintf("| %s | %d | %d | %.0f%% | %.0f%% | %.1f%% | %.0f%% | %.0f%% |", name, f.files, f.lines,
		percent(f.commentLines, f.lines), percent(f.silent, f.functions), percent(f.longLines, f.lines),
		percent(f.letters, f.identifiers), percent(f.documented, f.exports))
}

func percent(part, whole int) float64 {
	return 100 * float64(part) / float64(max(whole, 1))
}

// measure counts over the files below dir that make up its code.
func measure(dir string) (*figures, error) {
	f := &figures{}
	return f, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != dir && leftOut(d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return f.file(path, text)
	})
}

// leftOut reports whether a directory of this name holds no code of the repository that it lies in.
func leftOut(name string) bool {
	return name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

func (f *figures) file(path string, text []byte) error {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil || ast.IsGenerated(file) {
		return err
	}
	f.files++
	f.countLines(text, commentOnly(fset, file, text))
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if n.Name != "_" { // it names nothing
				f.identifiers++
				f.letters += one(len(n.Name) == 1 && n.Name >= "a") // K, V and T are type parameters by convention
			}
		case *ast.FuncDecl:
			f.function(fset, file, n)
		}
		return true
	})
	if file.Name.Name != "main" {
		for _, d := range file.Decls {
			f.exported(d)
		}
	}
	return nil
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (f *figures) countLines(text []byte, comment map[int]bool) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		f.lines++
		f.commentLines += one(comment[n])
		f.longLines += one(len([]rune(strings.TrimRight(string(line), "\r\n"))) > longLine)
	}
}

// commentOnly returns the lines that hold nothing but a comment.
func commentOnly(fset *token.FileSet, file *ast.File, text []byte) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		for _, c := range group.List {
			start := fset.Position(c.Pos())
			lineStart := bytes.LastIndexByte(text[:start.Offset], '\n') + 1
			if len(bytes.TrimSpace(text[lineStart:start.Offset])) > 0 {
				continue // behind code
			}
			for n := start.Line; n <= fset.Position(c.End()).Line; n++ {
				lines[n] = true
			}
		}
	}
	return lines
}

func (f *figures) function(fset *token.FileSet, file *ast.File, d *ast.FuncDecl) {
	if d.Body == nil || fset.Position(d.End()).Line-fset.Position(d.Pos()).Line+1 < longFunction {
		return
	}
	f.functions++
	for _, group := range file.Comments {
		if group.Pos() > d.Body.Lbrace && group.End() < d.Body.Rbrace {
			return
		}
	}
	f.silent++
}

// exported counts the exported names that a declaration makes, and those that have a comment: their
// own, or that of their group.
func (f *figures) exported(d ast.Decl) {
	count := func(documented bool, names ...*ast.Ident) {
		for _, n := range names {
			if n.IsExported() {
				f.exports++
				f.documented += one(documented)
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || receiver(d.Recv.List[0].Type) {
			count(d.Doc != nil, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				count(s.Doc != nil || s.Comment != nil || d.Doc != nil, s.Name)
			case *ast.ValueSpec:
				count(s.Doc != nil || s.Comment != nil || d.Doc != nil, s.Names...)
			}
		}
	}
}

// receiver reports whether the type of a receiver is exported.
func receiver(t ast.Expr) bool {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.IsExported()
	}
	return false
}
