package arch

import (
	"go/ast"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// layers are the folders of the library from the ground up. A package imports from its own layer and from those before it.
var layers = []struct{ name, packages string }{
	{"helpers", "internal/crashpoint internal/invariant internal/quote internal/retry internal/safefile internal/timerange"},
	{"formats and policies", "serde failure internal/spec internal/codec"},
	{"storage", "internal/storage/..."},
	{"kafka", "internal/kafka/..."},
	{"stores and windows as users name them", "store window"},
	{"graph", "internal/graph internal/processor"},
	{"topology", "topology"},
	{"dsl", "internal/dsl/..."},
	{"operators", "stream table join"},
	{"runtime", "internal/runtime/..."},
	{"App", "root"},
}

// upward are the imports that run back up, each with its reason. There are to be three at most.
var upward = map[string]string{
	"internal/graph -> internal/runtime/offsetmeta": "a graph knows what its program is remembered by beside committed offsets: bytes, which run nothing",
	"internal/storage/segmented -> internal/graph":  "windows and versions are views of graph.Store, and are opened by the kind that it names",
}

func TestLayers_ImportsRunDown(t *testing.T) {
	assert.LessOrEqual(t, len(upward), 3)
	layerOf := func(importPath string) int {
		for i, r := range layers {
			if within(importPath, strings.Fields(r.packages)...) {
				return i
			}
		}
		return -1
	}
	seen := map[string]bool{}
	for _, p := range ours(t) {
		if within(p.ImportPath, kit...) {
			continue
		}
		from := layerOf(p.ImportPath)
		assert.GreaterOrEqual(t, from, 0, "%s is in no layer: add it to layers, and to DESIGN.md", p.ImportPath)
		for _, i := range p.Imports {
			arrow := p.ImportPath + " -> " + i
			switch to := layerOf(i); {
			case to <= from:
			case upward[arrow] != "":
				seen[arrow] = true
			default:
				assert.Fail(t, "an import runs back up", "%s: from %s to %s", arrow, layers[from].name, layers[to].name)
			}
		}
	}
	for arrow := range upward {
		assert.True(t, seen[arrow], "%s is there no more: take it from the list", arrow)
	}
}

// onTaskGoroutine are the folders whose code is called by a task, for its records.
var onTaskGoroutine = []string{
	"internal/dsl/", "internal/graph/", "internal/processor/", "internal/codec/", "stream/", "table/", "join/", "store/", "topology/", "window/",
}

// What operators do is done on the goroutine of the task that calls them: so their state needs no lock, and a history can be repeated.
func TestLayers_DSLStartsNoGoroutine(t *testing.T) {
	startsGoroutine := func(n ast.Node) string {
		switch n := n.(type) {
		case *ast.GoStmt:
			return "a goroutine is started"
		case *ast.SelectorExpr: // of a sync.WaitGroup, and of packages time and context
			if n.Sel.Name == "Go" || n.Sel.Name == "AfterFunc" {
				return "a goroutine is started"
			}
		}
		return ""
	}
	for _, folder := range onTaskGoroutine {
		if folder != "stream/" {
			eachNode(t, folder, startsGoroutine)
		}
	}
	// stream.Async is for calls that run side by side. Its task waits for them before it commits or closes.
	started := map[string]bool{}
	all, _ := sources(t)
	for _, s := range all {
		if s.isTest() || path.Dir(s.path) != "stream" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if startsGoroutine(n) != "" {
				started[s.path] = true
			}
			return true
		})
	}
	assert.Equal(t, map[string]bool{"stream/async.go": true}, started)
}

// The task has the time, since in a test driver and in a bubble it is not that of the machine.
func TestLayers_DSLReadsNoClock(t *testing.T) {
	clock := map[string]bool{
		"After": true, "AfterFunc": true, "NewTicker": true, "NewTimer": true, "Now": true, "Since": true, "Sleep": true, "Tick": true, "Until": true,
	}
	for _, folder := range onTaskGoroutine {
		eachNode(t, folder, func(n ast.Node) string {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return ""
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil && clock[sel.Sel.Name] {
				return "time." + sel.Sel.Name + " is used"
			}
			return ""
		})
	}
}

// recordTypes are what the DSL uses of internal/kafka: records as they are in a topic. Everything else there is about brokers and clients.
var recordTypes = map[string]bool{"Header": true, "Record": true, "ProduceRecord": true, "TopicPartition": true}

func TestLayers_DSLUsesOnlyRecordsOfKafka(t *testing.T) {
	uses := 0
	for _, folder := range []string{"internal/dsl/", "internal/graph/", "internal/processor/", "stream/", "table/", "join/", "topology/"} {
		eachNode(t, folder, func(n ast.Node) string {
			if s, ok := n.(*ast.ImportSpec); ok && s.Name != nil && importPath(s) == "internal/kafka" {
				return "internal/kafka is imported under another name, by which this test does not find what is used of it"
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return ""
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "kafka" && x.Obj == nil {
				uses++
				if !recordTypes[sel.Sel.Name] {
					return "kafka." + sel.Sel.Name + " is used"
				}
			}
			return ""
		})
	}
	assert.Positive(t, uses)
}

// generic are the packages of the runtime that are containers, of whatever the others put into them.
var generic = []string{"internal/runtime/mailbox"}

// The runtime does not know the types of users: they end at graph.Node.Wire.
func TestLayers_RuntimeHasNoTypeParameters(t *testing.T) {
	eachNode(t, "internal/runtime/", func(n ast.Node) string {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if n.TypeParams != nil {
				return n.Name.Name + " has type parameters"
			}
		case *ast.FuncType:
			if n.TypeParams != nil {
				return "a function has type parameters"
			}
		}
		return ""
	}, generic...)
}

// eachNode visits the syntax of all files below a folder but tests and the packages in except, and fails where find finds something.
func eachNode(t *testing.T, folder string, find func(ast.Node) string, except ...string) {
	t.Helper()
	all, fset := sources(t)
	files := 0
	for _, s := range all {
		if s.isTest() || !strings.HasPrefix(s.path, folder) || within(path.Dir(s.path), except...) {
			continue
		}
		files++
		ast.Inspect(s.file, func(n ast.Node) bool {
			if what := find(n); what != "" {
				assert.Fail(t, what, "%s", fset.Position(n.Pos()))
			}
			return true
		})
	}
	assert.Positive(t, files)
}
