package arch

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/millstream-go/millstream"

// pkg is what `go list` says of a package, without its tests. Paths of this module are relative to it, and the root package is "root".
type pkg struct {
	ImportPath, Name string
	Imports, Deps    []string
}

// list runs `go list -json` in dir.
func list(t *testing.T, dir string, args ...string) (all []pkg) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Imports,Deps"}, args...)...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &errs)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else {
			require.NoError(t, err)
		}
		p.ImportPath = short(p.ImportPath)
		for _, paths := range [][]string{p.Imports, p.Deps} {
			for i := range paths {
				paths[i] = short(paths[i])
			}
		}
		all = append(all, p)
	}
}

// ours returns the packages of this module. They are listed once for all rules.
func ours(t *testing.T) []pkg {
	t.Helper()
	once.Do(func() { all = list(t, root(t), "./...") })
	require.NotEmpty(t, all)
	return all
}

var (
	once sync.Once
	all  []pkg
)

func short(path string) string {
	if path == module {
		return "root"
	}
	return strings.TrimPrefix(path, module+"/")
}

func root(t *testing.T) string {
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

// within reports whether path is one of the packages, or below one that ends in "/...".
func within(path string, packages ...string) bool {
	return slices.ContainsFunc(packages, func(p string) bool {
		below, tree := strings.CutSuffix(p, "/...")
		return path == p || tree && (path == below || strings.HasPrefix(path, below+"/"))
	})
}

// The parts of the module.
var (
	// dsl says what is to be done; runtime does it. They meet in topology and internal/graph, and share the words of internal/kafka,
	// which is types and interfaces.
	dsl     = []string{"stream", "table", "join", "internal/plan/..."}
	runtime = []string{"root", "internal/task/...", "internal/worker/...", "internal/changelog/...", "internal/global/...", "internal/assign/...", "internal/topics/...", "internal/group/...", "internal/kafka/sarama"}
	// kit is for tests and programs; nothing of it reaches a user's service.
	kit = []string{"testdriver/...", "store/storetest", "internal/kafkatest", "internal/arch", "internal/conformance/...", "internal/sim/...", "internal/oracle", "examples/...", "scripts/...", "cmd/..."}

	sarama      = []string{"github.com/IBM/sarama/..."}
	bbolt       = []string{"go.etcd.io/bbolt/..."}
	metrics     = []string{"github.com/rcrowley/go-metrics/..."}
	kfake       = []string{"github.com/twmb/franz-go/pkg/kfake/..."}
	testModules = []string{"github.com/stretchr/testify/...", "go.uber.org/goleak/...", "github.com/twmb/franz-go/..."}
)

// Who may import what directly: from names all packages of the module but those in except.
func TestImports(t *testing.T) {
	for _, rule := range []struct {
		says         string
		from, except []string
		not          []string
	}{
		{says: "only internal/kafka/sarama imports Sarama", from: []string{"..."}, except: []string{"internal/kafka/sarama"}, not: sarama},
		{says: "only store/bolt imports bbolt", from: []string{"..."}, except: []string{"store/bolt"}, not: bbolt},
		{says: "only testdriver/broker and examples import kfake", from: []string{"..."}, except: []string{"testdriver/broker", "examples/..."}, not: kfake},
		{says: "only the client on Sarama and the test kit know go-metrics", from: []string{"..."}, except: slices.Concat(kit, []string{"internal/kafka/sarama"}), not: metrics},
		{says: "algorithms know neither Kafka nor the graph", from: []string{"internal/op/..."}, not: []string{"internal/kafka/...", "internal/graph/..."}},
		{says: "stream stands below table and join", from: []string{"stream"}, not: []string{"table", "join"}},
		{says: "table stands below join", from: []string{"table"}, not: []string{"join"}},
	} {
		t.Run(rule.says, func(t *testing.T) {
			for _, p := range ours(t) {
				if rule.from[0] != "..." && !within(p.ImportPath, rule.from...) || within(p.ImportPath, rule.except...) {
					continue
				}
				for _, i := range p.Imports {
					assert.False(t, within(i, rule.not...), "%s imports %s", p.ImportPath, i)
				}
			}
		})
	}
}

// Who may not reach whom, directly or through others.
func TestDependencies(t *testing.T) {
	library := func(p string) bool { return !within(p, kit...) }
	of := func(packages ...string) func(string) bool {
		return func(p string) bool { return within(p, packages...) }
	}
	for _, rule := range []struct {
		says string
		from func(path string) bool
		not  []string
	}{
		{"the DSL does not reach the runtime", of(dsl...), runtime},
		{"the runtime does not reach the DSL", of(runtime...), dsl},
		{"serdes and policies know nothing of the rest", of("serde", "failure"), slices.Concat([]string{"topology", "store/..."}, dsl, runtime)},
		{"stores know neither DSL nor runtime", of("store", "store/memory", "store/bolt"), slices.Concat([]string{"topology"}, dsl, runtime)},
		{"the library does not reach what only tests and programs need", library, slices.Concat(testModules, kit)},
		{"the library does not link package testing", library, []string{"testing"}},
	} {
		t.Run(rule.says, func(t *testing.T) {
			for _, p := range ours(t) {
				if !rule.from(p.ImportPath) {
					continue
				}
				for _, d := range p.Deps {
					assert.False(t, within(d, rule.not...), "%s reaches %s", p.ImportPath, d)
				}
			}
		})
	}
}

// What an oracle says must not come from what it judges.
func TestOraclesImportNoAlgorithm(t *testing.T) {
	all, fset := sources(t)
	n := 0
	for _, s := range all {
		if filepath.ToSlash(filepath.Dir(s.path)) != "internal/oracle" {
			continue
		}
		n++
		for _, i := range s.file.Imports {
			path := short(strings.Trim(i.Path.Value, `"`))
			assert.False(t, within(path, "internal/op/...", "internal/graph/...", "internal/wire/...", "internal/plan/..."), "%s imports %s", fset.Position(i.Pos()), path)
		}
	}
	assert.Greater(t, n, 3)
}

// A rule that matches nothing proves nothing: this one shows that the paths in the rules are written as list writes them.
func TestRulesMatch(t *testing.T) {
	var stream, kfakeSeen bool
	for _, p := range ours(t) {
		stream = stream || within(p.ImportPath, dsl...)
		kfakeSeen = kfakeSeen || p.ImportPath == "testdriver/broker" && slices.ContainsFunc(p.Imports, func(i string) bool { return within(i, kfake...) })
	}
	assert.True(t, stream, "there is a DSL")
	assert.True(t, kfakeSeen, "testdriver/broker imports kfake")
	assert.True(t, within("root", runtime...))
	assert.False(t, within("internal/kafkatest", runtime...), "a prefix of letters is not a folder")
}
