package statedir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
)

func TestSetType(t *testing.T) {
	root := t.TempDir()
	d, err := Open(root, "app", Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close(true)) }()
	dir := filepath.Join(root, "app", "s")
	file, earlier := filepath.Join(dir, "0", "root"), filepath.Join(dir, "0.db")
	counts, sums := offsetmeta.Type{Layout: "key-value", Key: "bytes", Value: "int64"}, offsetmeta.Type{Layout: "key-value", Key: "bytes", Value: "float64"}
	set := func(x offsetmeta.Type, drop bool) (offsetmeta.Type, bool) {
		was, changed, err := d.SetType("s", x, drop)
		require.NoError(t, err)
		return was, changed
	}
	_, changed := set(counts, true)
	assert.False(t, changed, "it is new")
	b, err := os.ReadFile(filepath.Join(dir, ".type"))
	require.NoError(t, err)
	assert.Equal(t, "1 key-value,bytes,int64\n", string(b))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "0"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "notes"), 0o700))
	for _, f := range []string{file, earlier, filepath.Join(dir, "0", "000001.run"), filepath.Join(dir, "0.corrupt")} {
		require.NoError(t, os.WriteFile(f, nil, 0o600))
	}

	was, changed := set(sums, false)
	assert.True(t, changed)
	assert.Equal(t, counts, was)
	assert.FileExists(t, file)
	_, changed = set(offsetmeta.Type{Layout: "key-value", Key: "bytes"}, true)
	assert.False(t, changed, "a serde without a name is not compared")
	_, changed = set(counts, true)
	assert.False(t, changed)
	was, changed = set(sums, true)
	assert.True(t, changed)
	assert.Equal(t, counts, was)
	assert.NoDirExists(t, filepath.Join(dir, "0"))
	assert.NoFileExists(t, earlier)
	assert.FileExists(t, filepath.Join(dir, "0.corrupt"), "what was moved aside stays")
	assert.DirExists(t, filepath.Join(dir, "notes"), "no partition has this name")
	_, changed = set(sums, false)
	assert.False(t, changed)

	for text, want := range map[string]string{
		"":                    "",
		"1 key-va":            "",
		"2 key-value,,\n":     `version "2"`,
		"10 key-value,,\n":    `version "10"`,
		"1\n":                 "cannot be read",
		"1 key-value\n":       "cannot be read",
		"1 %zz,,\n":           "cannot be read",
		"\x00\xffkey-value\n": "Config.StateDir",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".type"), []byte(text), 0o600))
		_, _, err := d.SetType("s", counts, false)
		if want == "" {
			require.NoError(t, err, "%q", text)
			continue
		}
		require.ErrorContains(t, err, want, "%q", text)
		require.ErrorContains(t, err, filepath.Join(dir, ".type"))
	}
}

func FuzzStoreType(f *testing.F) {
	f.Add("1 key-value,bytes,int64\n")
	f.Add("1 window+1m,,%2C\n")
	f.Fuzz(func(t *testing.T, s string) {
		x, err := parseType(s)
		if err != nil || s == "" || s[len(s)-1] != '\n' {
			return
		}
		again, err := parseType(typeVersion + " " + x.Encode() + "\n")
		require.NoError(t, err)
		assert.Equal(t, x, again)
	})
}
