package testdriver_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// With StateDir a crash goes on with files, and a lost disk without them; the counts are the same.
func TestStateDir_StoresAreFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var n table.KTable[string, int64]
	top := build(t, func(b *stream.Builder) { n = table.Count(stream.GroupByKey(stream.From(b, in)), "n") })
	d := testdriver.New(t, top, testdriver.StateDir(dir))
	i := testdriver.Input(d, in)
	file := filepath.Join(dir, "n", "0", "root")
	for range 100 {
		i.Send("a", "")
	}
	d.Restart()
	require.FileExists(t, file, "what a crash may have to replay is little")
	before, err := os.Stat(file)
	require.NoError(t, err)
	i.Send("a", "")
	got, _, err := n.Store().In(d).Get("a")
	require.NoError(t, err)
	assert.EqualValues(t, 101, got)
	d.Wipe()
	after, err := os.Stat(file)
	assert.True(t, err != nil || !os.SameFile(before, after), "the disk is lost")
	i.Send("a", "")
	got, _, err = n.Store().In(d).Get("a")
	require.NoError(t, err)
	assert.EqualValues(t, 102, got)
}
