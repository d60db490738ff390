package arch

import (
	"errors"
	"go/ast"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// processWide are functions that change what all code of a process shares. debug.SetPanicOnFault is none: it concerns the goroutine that
// calls it.
var processWide = map[string][]string{
	"slog":    {"SetDefault", "SetLogLoggerLevel"},
	"log":     {"SetOutput", "SetFlags", "SetPrefix"},
	"debug":   {"SetGCPercent", "SetMemoryLimit", "SetMaxThreads", "SetMaxStack"},
	"os":      {"Setenv", "Unsetenv", "Clearenv", "Chdir", "Exit"},
	"http":    {"Handle", "HandleFunc"},
	"signal":  {"Notify", "NotifyContext", "Ignore", "Reset"},
	"expvar":  {"Publish", "NewInt", "NewMap"},
	"flag":    {"Parse", "String", "Bool", "Int", "Var"},
	"rand":    {"Seed"},
	"metrics": {"Register", "MustRegister", "GetOrRegister", "NewRegisteredMeter", "GetOrRegisterMeter"},
}

// What a library calls at most with the consent of the program: signals, flags, the default logger, the environment.
func TestLibraryCallsNothingProcessWide(t *testing.T) {
	all, fset := sources(t)
	calls := 0
	for _, s := range all {
		if s.isTest() || s.file.Name.Name == "main" || within(filepath.ToSlash(filepath.Dir(s.path)), kit...) {
			continue
		}
		packages := imported(s.file)
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			calls++
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Obj == nil && packages[x.Name] {
				assert.NotContains(t, processWide[x.Name], sel.Sel.Name, "%s", fset.Position(call.Pos()))
			}
			return true
		})
	}
	assert.Greater(t, calls, 1000)
}

// A setting that is accepted and has no effect is worse than none: each field of Config is read outside config.go.
func TestEveryFieldOfConfigIsUsed(t *testing.T) {
	all, _ := sources(t)
	used := map[string]bool{}
	var fields []string
	for _, s := range all {
		if s.isTest() || filepath.Dir(s.path) != "." {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if st, ok := n.Type.(*ast.StructType); ok && (n.Name.Name == "Config" || n.Name.Name == "Events") {
					for _, f := range st.Fields.List {
						for _, name := range f.Names {
							fields = append(fields, name.Name)
						}
					}
				}
			case *ast.SelectorExpr:
				if s.path != "config.go" {
					used[n.Sel.Name] = true
				}
			}
			return true
		})
	}
	require.Greater(t, len(fields), 25)
	for _, f := range fields {
		assert.True(t, used[f], "Config or Events have %s, which nothing reads", f)
	}
}

// The repository holds sources: no programs, no profiles, no coverage. What lies beside them, ignored, is nobody's business.
func TestNothingBuiltIsCommitted(t *testing.T) {
	top := root(t)
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil { // a copy without its history has no more than was committed
		all, _ := sources(t)
		for _, s := range all {
			out = append(out, s.path+"\n"...)
		}
	}
	magic := []string{"\x7fELF", "MZ\x90", "\xcf\xfa\xed\xfe", "!<arch>\n", "mode: set\n", "mode: atomic\n", "mode: count\n"}
	files := 0
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		b, err := os.ReadFile(filepath.Join(top, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted and not committed yet
		}
		require.NoError(t, err)
		files++
		built := slices.ContainsFunc(magic, func(m string) bool { return strings.HasPrefix(string(b), m) })
		assert.False(t, built || strings.HasSuffix(path, ".test") || strings.HasSuffix(path, ".prof"), path)
	}
	assert.Greater(t, files, 300)
}

// A program that stops gracefully can be ended all the same: after the first signal, the second one does what it does by default.
func TestASecondSignalEndsPrograms(t *testing.T) {
	all, _ := sources(t)
	programs := 0
	for _, s := range all {
		if !s.isTest() && strings.Contains(string(s.text), "signal.NotifyContext(") {
			programs++
			assert.Contains(t, string(s.text), "context.AfterFunc(ctx, stop)", s.path)
		}
	}
	assert.GreaterOrEqual(t, programs, 3)
}
