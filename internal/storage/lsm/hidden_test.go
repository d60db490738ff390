package lsm_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/storage/lsm"
)

// What a merge reads may be gone from the list of runs when it has written its file, since newer files have all of its keys. That file
// must not come before the newer ones.
func TestMerge_InputsAreGone(t *testing.T) {
	const keys = 8
	began, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	o := lsm.Options{Path: pathIn(t), Store: "hidden", NoSync: true, Factor: keys - 1, ReplayBytes: 1 << 20}
	o.Hook = func(p crashpoint.Point) {
		if p == crashpoint.MergeBegin { // it has chosen what it reads
			once.Do(func() {
				close(began)
				<-goOn
			})
		}
	}
	e := open(t, o)
	offset := int64(0)
	flush := func(value string, of ...int) {
		for _, i := range of {
			require.NoError(t, e.Put(fmt.Append(nil, i), []byte(value), offset))
		}
		offset++
		settle(t, e, offset)
		require.NoError(t, e.Flush(true))
	}
	for i := range keys {
		flush("old", i)
	}
	<-began
	for i := 0; i < keys; i += 2 {
		flush("new", i, i+1)
	}
	close(goOn)
	e.AwaitMerges()
	check := func() {
		t.Helper()
		for i := range keys {
			v, _, ok, err := e.Get(fmt.Append(nil, i))
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, "new", string(v), "key %d", i)
		}
	}
	check()
	in, err := os.ReadDir(o.Path)
	require.NoError(t, err)
	assert.Len(t, in, e.Stats().Files+1, "the root and the files that it lists: %v", in)
	require.NoError(t, e.Close(true))
	e = open(t, o)
	check()
	require.NoError(t, e.Close(true))
}
