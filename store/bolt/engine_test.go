package bolt_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, o bolt.Options) *bolt.Engine {
	t.Helper()
	e, _, err := bolt.Open(o)
	require.NoError(t, err)
	return e
}

func TestEngine(t *testing.T) {
	for name, options := range map[string]bolt.Options{
		"default":                          {NoSync: true},
		"many transactions, little memory": {NoSync: true, TransactionBytes: 20 << 10, PageSize: 4096, ReplayBytes: 100 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t testing.TB) storetest.Store {
				o := options
				o.Path = filepath.Join(t.TempDir(), "store", "0.db")
				o.Budget = memory.NewBudget(1 << 20)
				return storetest.Store{
					Open:   func(t testing.TB) store.Engine { return open(t, o) },
					Reopen: func(t testing.TB) store.Engine { return open(t, o) },
					Large:  name == "default",
				}
			})
		})
	}
}
