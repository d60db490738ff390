package arch

import (
	"bytes"
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// source is a parsed file; path is relative to the module.
type source struct {
	path string
	file *ast.File
	text []byte
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// importPath returns the package that the file belongs to, in the form of ours.
func (s source) importPath() string {
	if dir := path.Dir(s.path); dir != "." {
		return dir
	}
	return "root"
}

var (
	parseOnce  sync.Once
	parsed     []source
	parsedFset *token.FileSet
)

// sources returns all Go files of the module, under every build tag. Modules below it (bench) are not it. They are parsed once for all
// rules.
func sources(t *testing.T) ([]source, *token.FileSet) {
	t.Helper()
	parseOnce.Do(func() { parsed, parsedFset = parseAll(t) })
	require.NotEmpty(t, parsed)
	return parsed, parsedFset
}

func parseAll(t *testing.T) (all []source, fset *token.FileSet) {
	fset = token.NewFileSet()
	top := root(t)
	require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != top && (strings.HasPrefix(name, ".") || name == "testdata" || isModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		require.NoError(t, err)
		rel, err := filepath.Rel(top, path)
		all = append(all, source{filepath.ToSlash(rel), file, text})
		return err
	}))
	return all, fset
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// A test that skips looks green and shows nothing.
func TestNoTestSkips(t *testing.T) {
	all, fset := sources(t)
	for _, s := range all {
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Skip" && sel.Sel.Name != "Skipf" && sel.Sel.Name != "SkipNow" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok {
				assert.NotContains(t, []string{"t", "tb", "b", "f"}, x.Name, "%s skips", fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// The compiler sees a file whose package has another name only on the systems that its build tag names, and those of make vet are not all.
func TestFilesOfADirectoryAreOfOnePackage(t *testing.T) {
	all, _ := sources(t)
	names := map[string]string{}
	for _, s := range all {
		dir, name := path.Dir(s.path), strings.TrimSuffix(s.file.Name.Name, "_test")
		if names[dir] == "" {
			names[dir] = name
		}
		assert.Equal(t, names[dir], name, s.path)
	}
}

// make kafka-test runs TestKafka... of files under the tag kafka: a test with another name would never run.
func TestTestsOnRealKafkaAreNamedSo(t *testing.T) {
	all, _ := sources(t)
	for _, s := range all {
		tagged := bytes.HasPrefix(s.text, []byte("//go:build kafka\n"))
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && s.isTest() && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				assert.Equal(t, tagged, strings.HasPrefix(f.Name.Name, "TestKafka"), "%s: %s", s.path, f.Name.Name)
			}
		}
	}
}

// Keys and values of users may be large, and secret: errors and logs quote them cut, with package quote.
func TestKeysAndValuesAreQuotedCut(t *testing.T) {
	whole := regexp.MustCompile(`\b(key|value|row|entry)s?,? %[#+ ]?[qxvX]`)
	all, fset := sources(t)
	for _, s := range all {
		if s.isTest() || strings.HasPrefix(s.path, "internal/storage/storagetest/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && whole.MatchString(lit.Value) {
				assert.Fail(t, "quoted whole: use internal/quote", "%s: %s", fset.Position(lit.Pos()), lit.Value)
			}
			return true
		})
	}
}

// What users and the other packages see says what it is.
func TestExportedNamesHaveComments(t *testing.T) {
	all, fset := sources(t)
	for _, s := range all {
		if s.isTest() || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			for _, name := range uncommented(d) {
				assert.Fail(t, "no comment", "%s: %s", fset.Position(d.Pos()), name)
			}
		}
	}
}

// uncommented returns the exported names that a declaration makes without a comment on them or on the group that they are in.
// Methods of unexported types count only by their interface, and Error says in every type the same.
func uncommented(d ast.Decl) (names []string) {
	without := func(doc *ast.CommentGroup, ids ...*ast.Ident) {
		for _, id := range ids {
			if doc == nil && id.IsExported() {
				names = append(names, id.Name)
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || receiver(d.Recv.List[0].Type).IsExported() && d.Name.Name != "Error" {
			without(d.Doc, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				without(cmp.Or(spec.Doc, d.Doc, spec.Comment), spec.Name)
			case *ast.ValueSpec:
				without(cmp.Or(spec.Doc, d.Doc, spec.Comment), spec.Names...)
			}
		}
	}
	return names
}

func receiver(t ast.Expr) *ast.Ident {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	}
	return t.(*ast.Ident)
}

// DESIGN.md says where everything is.
func TestFileMapNamesEveryPackage(t *testing.T) {
	design, err := os.ReadFile(filepath.Join(root(t), "DESIGN.md"))
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(design), "## File map")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, p := range ours(t) {
		path := p.ImportPath
		if top, _, _ := strings.Cut(path, "/"); top == "examples" || top == "scripts" {
			path = top
		}
		if path != "root" {
			assert.Contains(t, table, "`"+path+"/`", "package %s", p.ImportPath)
		}
	}
}

var todo = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)

// What is left to do stands in an issue.
func TestNoTODOWithoutAnIssue(t *testing.T) {
	all, fset := sources(t)
	for _, s := range all {
		for _, g := range s.file.Comments {
			for _, c := range g.List {
				assert.False(t, todo.MatchString(c.Text) && !strings.Contains(c.Text, "#"), "%s: %s", fset.Position(c.Pos()), c.Text)
			}
		}
	}
}

// Variables of other packages are settings of the whole process (sarama.Logger, metrics.UseNilMetrics): they belong to programs
// and tests.
func TestLibraryLeavesProcessWideSettingsAlone(t *testing.T) {
	all, fset := sources(t)
	for _, s := range all {
		if s.isTest() || s.file.Name.Name == "main" || within(filepath.ToSlash(filepath.Dir(s.path)), kit...) {
			continue
		}
		packages := imported(s.file)
		ast.Inspect(s.file, func(n ast.Node) bool {
			assign, ok := n.(*ast.AssignStmt)
			if !ok || assign.Tok == token.DEFINE {
				return true
			}
			for _, left := range assign.Lhs {
				sel, ok := left.(*ast.SelectorExpr)
				if !ok {
					continue
				}
				// The parser resolves names declared in this file (Obj); what it does not resolve and an import has is that package.
				x, ok := sel.X.(*ast.Ident)
				assert.False(t, ok && x.Obj == nil && packages[x.Name], "%s sets %s of another package", fset.Position(left.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

func imported(f *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, i := range f.Imports {
		path := strings.Trim(i.Path.Value, `"`)
		name := strings.TrimPrefix(path[strings.LastIndex(path, "/")+1:], "go-")
		if i.Name != nil {
			name = i.Name.Name
		}
		names[name] = true
	}
	return names
}

// attributes are those that log lines have, each with one meaning.
var attributes = regexp.MustCompile(`^[a-z][a-z_]*$`)

// Log lines are of one style: the message says whose it is and begins in lower case; attributes are written in one way, and those that name
// the same thing have one name. The application is on each line by itself.
func TestLogLinesAreOfOneStyle(t *testing.T) {
	other := map[string]string{"application": "", "group": "", "err": "error", "why": "reason", "changelog": "topic", "tp": "topic and partition", "aside": "moved_to"}
	all, fset := sources(t)
	lines := 0
	for _, s := range all {
		if s.isTest() || s.file.Name.Name == "main" || within(filepath.ToSlash(filepath.Dir(s.path)), kit...) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.Contains("Debug Info Warn Error", sel.Sel.Name) || len(call.Args) == 0 {
				return true
			}
			if x, ok := sel.X.(*ast.SelectorExpr); !ok || !strings.EqualFold(x.Sel.Name, "logger") {
				return true
			}
			lines++
			at := fset.Position(call.Pos())
			if text, ok := firstText(call.Args[0]); ok {
				assert.Regexp(t, `^millstream: ([a-z%]|$)`, text, "%s", at)
			}
			for _, arg := range call.Args[1:] {
				lit, ok := arg.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				key := strings.Trim(lit.Value, `"`)
				assert.Regexp(t, attributes, key, "%s", at)
				better, bad := other[key]
				assert.False(t, bad, "%s: attribute %q; in its place: %q", at, key, better)
			}
			return true
		})
	}
	assert.Greater(t, lines, 30)
}

// firstText is the text that an expression begins with, where it can be seen.
func firstText(e ast.Expr) (string, bool) {
	switch x := e.(type) {
	case *ast.BasicLit:
		return strings.Trim(x.Value, `"`), true
	case *ast.BinaryExpr:
		return firstText(x.X)
	case *ast.CallExpr: // of fmt.Sprintf
		if len(x.Args) > 0 {
			return firstText(x.Args[0])
		}
	}
	return "", false
}
