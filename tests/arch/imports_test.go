package arch

import (
	"bytes"
	"encoding/json"
	"go/ast"
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

// ours returns the packages of this module. They are listed once for all rules. Imports of files for
// other platforms, which `go list` leaves out, are among theirs.
func ours(t *testing.T) []pkg {
	t.Helper()
	once.Do(func() {
		all = list(t, root(t), "./...")
		files, _ := sources(t)
		for i := range all {
			for _, f := range files {
				if f.isTest() || f.importPath() != all[i].ImportPath {
					continue
				}
				for _, imported := range f.file.Imports {
					if path := importPath(imported); !slices.Contains(all[i].Imports, path) {
						all[i].Imports = append(all[i].Imports, path)
						all[i].Deps = append(all[i].Deps, path)
					}
				}
			}
		}
	})
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

// importPath returns what a file imports, in the form of ours.
func importPath(s *ast.ImportSpec) string { return short(strings.Trim(s.Path.Value, `"`)) }

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
	dsl = []string{"stream", "table", "join", "internal/dsl/..."}
	// Bytes beside committed offsets (offsetmeta) and the queue between goroutines (mailbox) are leaves of internal/runtime: they run nothing.
	runtime = []string{
		"root", "internal/runtime/assign/...", "internal/runtime/changelog/...", "internal/runtime/global/...", "internal/runtime/group/...",
		"internal/runtime/instance/...", "internal/runtime/statedir/...", "internal/runtime/task/...", "internal/runtime/topics/...",
		"internal/runtime/worker/...", "internal/kafka/sarama",
	}
	// kit is for tests and programs; nothing of it reaches a user's service.
	kit = []string{"testdriver/...", "internal/kafka/recordbatch/batchtest", "internal/storage/storagetest", "tests/...", "examples/...", "scripts/...", "cmd/..."}

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
		{says: "only tests import bbolt", from: []string{"..."}, not: bbolt},
		{says: "only testdriver/broker and examples import kfake", from: []string{"..."}, except: []string{"testdriver/broker", "examples/..."}, not: kfake},
		{says: "only the client on Sarama and the test kit know go-metrics", from: []string{"..."}, except: slices.Concat(kit, []string{"internal/kafka/sarama"}), not: metrics},
		{says: "the codec of record batches knows bytes alone", from: []string{"internal/kafka/recordbatch"}, not: []string{"net/...", "internal/kafka/sarama"}},
		{says: "algorithms know neither Kafka nor the graph", from: []string{"internal/dsl/operator/..."}, not: []string{"internal/kafka/...", "internal/graph/..."}},
		{says: "of the DSL, only what compiles a program knows the words of Kafka", from: []string{"internal/dsl/..."}, except: []string{"internal/dsl/plan"}, not: []string{"internal/kafka/..."}},
		{says: "words of users, formats and policies know no Kafka", from: []string{"store", "window", "serde", "failure", "internal/spec", "internal/codec"}, not: []string{"internal/kafka/..."}},
		{says: "of Kafka, the DSL knows records and the default partitioner", from: dsl, not: []string{"internal/kafka/recordbatch/...", "internal/kafka/sarama/..."}},
		{says: "storage knows no Kafka", from: []string{"internal/storage/..."}, not: []string{"internal/kafka/..."}},
		{says: "of storage, only windows and versions know the graph", from: []string{"internal/storage/..."}, except: []string{"internal/storage/segmented"}, not: []string{"internal/graph"}},
		{says: "the client of Kafka knows no store", from: []string{"internal/kafka/..."}, not: []string{"store", "internal/storage/...", "internal/graph"}},
		{says: "an instance takes nothing from the App above it", from: []string{"internal/runtime/..."}, not: []string{"root"}},
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
		{"stores know neither DSL nor runtime", of("store", "internal/storage", "internal/storage/memtable", "internal/storage/btree", "internal/storage/lsm", "internal/storage/quarantine", "internal/storage/run"), slices.Concat([]string{"topology"}, dsl, runtime)},
		{"engines know nothing of the types of users", of("internal/storage/...", "internal/graph"), []string{"store"}},
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
		if filepath.ToSlash(filepath.Dir(s.path)) != "tests/oracle" {
			continue
		}
		n++
		for _, i := range s.file.Imports {
			path := importPath(i)
			assert.False(t, within(path, "internal/dsl/...", "internal/graph", "internal/storage/segmented"), "%s imports %s", fset.Position(i.Pos()), path)
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
	assert.False(t, within("tests/kafkatest", runtime...), "a prefix of letters is not a folder")
}
