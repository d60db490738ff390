package quote_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/quote"
)

func TestKey_Truncated(t *testing.T) {
	assert.Equal(t, `"a\x00"`, quote.Key([]byte("a\x00")))
	assert.Equal(t, `"`+strings.Repeat("k", 64)+`"`, quote.Key(strings.Repeat("k", 64)))
	assert.Equal(t, `"`+strings.Repeat("k", 64)+`"... of 41000 bytes`, quote.Key(strings.Repeat("k", 41000)))
	assert.Equal(t, "6100", quote.Hex([]byte("a\x00")))
	assert.Equal(t, strings.Repeat("6b", 64)+"... of 65 bytes", quote.Hex([]byte(strings.Repeat("k", 65))))
}

func TestError_Truncated(t *testing.T) {
	require.NoError(t, quote.Error(nil))
	short := errors.New("odd")
	assert.Equal(t, short, quote.Error(short))
	long := errors.New(strings.Repeat("é", 41000) + "!")
	err := quote.Error(long)
	require.ErrorIs(t, err, long)
	assert.Equal(t, strings.Repeat("é", 256)+"... of 82001 bytes", err.Error())
	assert.Less(t, len(quote.Error(errors.New("x"+strings.Repeat("\xff", 41000))).Error()), 1500)
}
