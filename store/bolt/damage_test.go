package bolt_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
)

// withDamagedLeaves returns a store of many pages in which every leaf page says that it is another one: Open does not see it.
func withDamagedLeaves(t *testing.T) bolt.Options {
	o := bolt.Options{Path: pathIn(t), NoSync: true, PageSize: 1024}
	e := open(t, o)
	putRows(t, e, 0, 2000, "value")
	settle(t, e, 100)
	require.NoError(t, e.Close(true))
	b, err := os.ReadFile(o.Path)
	require.NoError(t, err)
	const leaf, head = 2, 16
	for at := 2 * 1024; at+head < len(b); at += 1024 {
		// The root, a leaf too, has two elements: the buckets.
		if p := b[at:]; binary.NativeEndian.Uint16(p[8:]) == leaf && binary.NativeEndian.Uint16(p[10:]) > 2 {
			binary.NativeEndian.PutUint64(p, 9999)
		}
	}
	require.NoError(t, os.WriteFile(o.Path, b, 0o600))
	return o
}

func TestADamagedPageIsAnErrorOfTheReadAndMovesTheFileAsideNextTime(t *testing.T) {
	for name, read := range map[string]func(e *bolt.Engine) error{
		"get": func(e *bolt.Engine) error {
			_, _, _, err := e.Get([]byte("key 000100"))
			return err
		},
		"scan": func(e *bolt.Engine) error {
			for _, err := range e.Scan(store.Range{}) {
				return err
			}
			return nil
		},
		"scan back": func(e *bolt.Engine) error {
			for _, err := range e.Scan(store.Range{Backward: true, To: []byte("key 000500")}) {
				return err
			}
			return nil
		},
		"len": func(e *bolt.Engine) error {
			_, err := e.Len()
			return err
		},
		"flush": func(e *bolt.Engine) error {
			putRows(t, e, 0, 50, "new value")
			settle(t, e, 200)
			err := e.Flush(true)
			assert.ErrorIs(t, e.Healthy(), bolt.ErrCorrupt)
			for i := range 50 { // memory still has it
				_, _, ok, err := e.Get(fmt.Appendf(nil, "key %06d", i))
				assert.True(t, ok)
				assert.NoError(t, err)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := withDamagedLeaves(t)
			e, info, err := bolt.Open(o)
			require.NoError(t, err)
			require.Empty(t, info.Aside)
			err = read(e)
			assert.ErrorIs(t, err, bolt.ErrCorrupt)
			assert.ErrorContains(t, err, o.Path)
			require.NoError(t, e.Close(false), "no lock of bbolt is left taken")
			aside(t, o)
		})
	}
}
