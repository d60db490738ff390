package statedir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What every earlier version wrote is read.
func TestProcessID_Golden(t *testing.T) {
	const golden = "1 000102030405060708090a0b0c0d0e0f\n"
	want := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	assert.Equal(t, golden, string(formatProcessID(want)))
	id, ok, err := parseProcessID([]byte(golden))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, want, id)
}

func TestProcessID_SurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	first, err := ProcessID(dir)
	require.NoError(t, err)
	again, err := ProcessID(dir)
	require.NoError(t, err)
	assert.Equal(t, first, again)

	for _, short := range []string{"", "1", "1 0001", "\x00\x00\x00"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".process"), []byte(short), 0o600))
		other, err := ProcessID(dir)
		require.NoError(t, err, "%q", short)
		assert.NotEqual(t, first, other)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".process"), []byte("2 whatever comes\n"), 0o600))
	_, err = ProcessID(dir)
	require.ErrorContains(t, err, "version 2")
	b, err := os.ReadFile(filepath.Join(dir, ".process"))
	require.NoError(t, err)
	assert.Equal(t, "2 whatever comes\n", string(b), "left as it is")
}

func FuzzProcessID(f *testing.F) {
	f.Add([]byte("1 000102030405060708090a0b0c0d0e0f\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, ok, _ := parseProcessID(b); ok {
			again, ok, err := parseProcessID(formatProcessID(id))
			assert.True(t, ok && err == nil && again == id)
		}
	})
}
