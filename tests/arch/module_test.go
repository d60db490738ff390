package arch

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A replace or a tool line works for those who build this module and for nobody who imports it.
func TestGoModHasNoReplaceOrToolLines(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	require.NoError(t, err)
	var mod struct {
		Module                 struct{ Path string }
		Replace, Tool, Exclude []any
	}
	require.NoError(t, json.Unmarshal(out, &mod))
	assert.Equal(t, module, mod.Module.Path)
	assert.Empty(t, mod.Replace)
	assert.Empty(t, mod.Tool)
	assert.Empty(t, mod.Exclude)
}

// A program in a module of its own, which imports the library, links nothing that only our tests need.
func TestOutsideProgramLinksNoTestDependency(t *testing.T) {
	dir := t.TempDir()
	write := func(name, format string, args ...any) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, format, args...), 0o644))
	}
	sums, err := os.ReadFile(filepath.Join(root(t), "go.sum"))
	require.NoError(t, err)
	// The module requires what ours does: what is linked does not depend on it, and with the same requirements no other modules have to be
	// there than those that this test was built with. (With ours alone, or after "go mod tidy", the modules of our dependencies' tests are asked for.)
	required, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	require.NoError(t, err)
	_, requires, found := strings.Cut(string(required), "require")
	require.True(t, found)
	write("go.mod", "module outside.example/service\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %q\n\nrequire%s", module, module, root(t), requires)
	write("go.sum", "%s", sums)
	write("main.go", "package main\n\nimport (\n%s)\n\nfunc main() {}\n", public(t))

	cmd := exec.Command("go", "list", "-mod=mod", "-deps", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	linked := list(t, dir, "-deps", ".")
	for _, p := range linked {
		assert.False(t, within(p.ImportPath, slices.Concat(testModules, kit)...) || p.ImportPath == "testing", "the program links %s", p.ImportPath)
	}
	assert.Greater(t, len(linked), 10)
}

// public returns an import line for each package that a service would import: all that are neither internal nor for tests.
func public(t *testing.T) string {
	var b strings.Builder
	for _, p := range ours(t) {
		if p.Name == "main" || within(p.ImportPath, kit...) || strings.Contains(p.ImportPath+"/", "internal/") {
			continue
		}
		path := module + "/" + p.ImportPath
		if p.ImportPath == "root" {
			path = module
		}
		fmt.Fprintf(&b, "\t_ %q\n", path)
	}
	return b.String()
}
