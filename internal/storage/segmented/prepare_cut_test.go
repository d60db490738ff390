package segmented

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
)

// A cut sends records of several stores, one after the other. No store may read its file in it, or
// damage would be found when some are sent: what a cut reads is read before, by PrepareCut. This is
// so of each kind of store.
func TestPrepareCut_LeavesCutNothingToRead(t *testing.T) {
	for _, k := range kinds(t) {
		for _, headers := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, headers %v", k.name, headers), func(t *testing.T) {
				s := k.store
				s.KeepHeaders, s.Retention = headers, time.Hour
				path := filepath.Join(t.TempDir(), "0")
				open := func() (file *lsm.Engine, e storage.Engine, h storage.Handle) {
					file, _, err := lsm.Open(lsm.Options{Path: path, NoSync: true})
					require.NoError(t, err)
					e, err = Wrap(&s, file)
					require.NoError(t, err)
					if l := Unwrap(e); l != nil {
						l.SetPassAfter(0) // a pass over the latest versions is always due
					}
					h, err = Handle(&s, e, func() int64 { return 0 })
					require.NoError(t, err)
					return file, e, h
				}
				_, e, h := open()
				for i := range 200 {
					require.NoError(t, k.put(h, fmt.Sprint("key ", i), []byte("before")))
				}
				epoch, err := e.Cut(func(storage.Change) error { return nil })
				require.NoError(t, err)
				e.Settle(epoch, storage.Checkpoint{Offset: 200})
				require.NoError(t, e.Close(true))

				file, e, h := open()
				require.NoError(t, k.put(h, "key 1", []byte("after")))
				if k.name == "versioned" { // the key's latest version is another one, and is sent once more behind the deletion
					_, _, err := h.Versions.Put([]byte("key 2"), nil, 9)
					require.NoError(t, err)
				}
				p, prepares := e.(interface{ PrepareCut() error })
				if prepares {
					require.NoError(t, p.PrepareCut())
				}
				file.Distrust(errors.New("damage that is found now"))
				n := 0
				_, err = e.Cut(func(storage.Change) error { n++; return nil })
				require.NoError(t, err)
				if k.name != "versioned" {
					assert.Equal(t, 1, n)
					require.NoError(t, e.Close(false))
					return
				}
				assert.Greater(t, n, 64, "the put, the deletion, what follows it, and a part of the pass")
				assert.ErrorIs(t, p.PrepareCut(), storage.ErrDamaged, "damage is found before a cut")
				require.NoError(t, e.Close(false))
			})
		}
	}
}
