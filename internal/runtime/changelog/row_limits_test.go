package changelog

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

func TestLimitRows_RefusesWhatBrokerWould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UnixMilli()
		refused := func(err, want error) {
			t.Helper()
			var row *retry.RowError
			require.ErrorAs(t, err, &row, "the record's policy decides")
			require.ErrorIs(t, err, want)
		}
		plain := func(settings ...string) map[string]string {
			c := map[string]string{}
			for i := 0; i < len(settings); i += 2 {
				c[settings[i]] = settings[i+1]
			}
			return c
		}
		e := memtable.New(nil)
		assert.Equal(t, e, LimitRows(e, nil, true), "nothing is known of the topic")

		sized := LimitRows(e, plain("max.message.bytes", "1000"), true)
		refused(sized.Put([]byte("k"), []byte(strings.Repeat("v", 900)), now), kafka.ErrTooLarge)
		require.NoError(t, sized.Put([]byte("k"), []byte("v"), 1<<60), "times are not limited")

		timed := LimitRows(e, plain("message.timestamp.after.max.ms", "3600000"), true)
		require.NoError(t, timed.Put([]byte("k"), []byte(strings.Repeat("v", 900)), now))
		require.NoError(t, timed.Put([]byte("k"), []byte("v"), now+3600000))
		require.NoError(t, timed.Put([]byte("k"), []byte("v"), 0))
		refused(timed.Put([]byte("k"), []byte("v"), now+3600001), kafka.ErrTimestamp)
		refused(timed.Delete([]byte("k"), now+3600001), kafka.ErrTimestamp)
		time.Sleep(time.Second)
		require.NoError(t, timed.Put([]byte("k"), []byte("v"), now+3600001), "the bound moves on with the clock")

		late := LimitRows(e, plain("message.timestamp.before.max.ms", "5000"), true)
		require.NoError(t, late.Put([]byte("k"), []byte("v"), now))
		time.Sleep(5 * time.Second)
		refused(late.Put([]byte("k"), []byte("v"), now), kafka.ErrTimestamp)
		// Windows, sessions and versions move rows of earlier times about.
		require.NoError(t, LimitRows(e, plain("message.timestamp.before.max.ms", "5000"), false).Put([]byte("k"), []byte("v"), 0))
		refused(LimitRows(e, plain("message.timestamp.after.max.ms", "5000"), false).Put([]byte("k"), []byte("v"), 1<<50), kafka.ErrTimestamp)
	})
}

// What an engine can do beside storage.Engine is asked for by a type assertion, which a wrapper that does not have the methods
// answers with no: the store would work, and do without. So the wrapper has what engines have, but for what is asked of an engine
// before it is wrapped.
func TestLimitRows_HasWhatEnginesHave(t *testing.T) {
	e, _, err := lsm.Open(lsm.Options{Path: filepath.Join(t.TempDir(), "0"), Store: "s", NoSync: true})
	require.NoError(t, err)
	limited := LimitRows(e, map[string]string{"max.message.bytes": "1000000"}, true)
	require.IsType(t, (*limitedEngine)(nil), limited)
	has := func(e storage.Engine, methods []string) bool {
		return !slices.ContainsFunc(methods, func(name string) bool { return !reflect.ValueOf(e).MethodByName(name).IsValid() })
	}
	var beside []string
	for name, methods := range interfaces(t, "../../storage") {
		if has(e, methods) && name != "ConcurrentReader" && name != "Damageable" {
			beside = append(beside, name)
			assert.True(t, has(limited, methods), name)
		}
	}
	assert.Subset(t, beside, []string{"Visitor", "SeriesIndexer", "AheadReader", "Snapshotter"})
	require.NoError(t, e.Close(false))
}

// interfaces returns the names of the methods of each interface of a package.
func interfaces(t *testing.T, dir string) map[string][]string {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	all := map[string][]string{}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if x, ok := spec.Type.(*ast.InterfaceType); ok {
				for _, m := range x.Methods.List {
					for _, name := range m.Names { // none: the methods of another interface, which is looked at by itself
						all[spec.Name.Name] = append(all[spec.Name.Name], name.Name)
					}
				}
			}
			return false
		})
	}
	return all
}
