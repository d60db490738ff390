package kswire_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/serde"
)

var changes = kswire.ChangeSerde[string](serde.String)

func TestChange_BytesAreThoseOfKafkaStreams(t *testing.T) {
	for _, tt := range []struct {
		c    kswire.Change[string]
		want string
	}{
		{kswire.Change[string]{New: "1", HasNew: true}, "3101"},
		{kswire.Change[string]{Old: "22", HasOld: true}, "323200"},
		{kswire.Change[string]{New: "22", Old: "1", HasNew: true, HasOld: true}, "0432323102"},
		{kswire.Change[string]{HasNew: true}, "01"},
		{kswire.Change[string]{HasNew: true, HasOld: true}, "0002"},
		{kswire.Change[string]{New: strings.Repeat("x", 64), HasNew: true, HasOld: true}, "8001" + strings.Repeat("78", 64) + "02"},
	} {
		b, err := changes.Append([]byte("before"), tt.c)
		require.NoError(t, err)
		require.Equal(t, "before", string(b[:6]))
		assert.Equal(t, tt.want, hex.EncodeToString(b[6:]))
		back, err := changes.Decode(b[6:])
		require.NoError(t, err)
		assert.Equal(t, tt.c, back)
	}
}

func TestChange_ReadsAllVersions(t *testing.T) {
	for in, want := range map[string]kswire.Change[string]{
		"320103":     {Old: "2", HasOld: true},
		"310004":     {New: "1", HasNew: true},
		"0231320105": {New: "1", Old: "2", HasNew: true, HasOld: true},
	} {
		b, err := hex.DecodeString(in)
		require.NoError(t, err)
		got, err := changes.Decode(b)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, in := range []string{"", "06", "03", "05", "02", "0431" + "02", "0131" + "02", "ffffffffff7f02"} {
		b, err := hex.DecodeString(in)
		require.NoError(t, err)
		_, err = changes.Decode(b)
		assert.Error(t, err, "%s", in)
	}
}

func FuzzChange(f *testing.F) {
	for _, c := range []kswire.Change[string]{{New: "1", HasNew: true}, {Old: "22", HasOld: true}, {New: "x", Old: "y", HasNew: true, HasOld: true}} {
		b, err := changes.Append(nil, c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{2, '1', '2', 1, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		given := bytes.Clone(b)
		c, err := changes.Decode(b)
		require.Equal(t, given, b)
		if err != nil {
			return
		}
		again, err := changes.Append(nil, c)
		require.NoError(t, err)
		back, err := changes.Decode(again)
		require.NoError(t, err)
		require.Equal(t, c, back)
	})
}
