package layout

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store/memory"
)

// BenchmarkKeepHeaders is a read and a write of a row with and without headers.
func BenchmarkKeepHeaders(b *testing.B) {
	for name, keep := range map[string]bool{"none": false, "kept": true} {
		b.Run(name, func(b *testing.B) {
			update := updating(b, keep)
			b.ReportAllocs()
			for b.Loop() {
				update()
			}
		})
	}
}

func TestKeepingHeadersAllocatesNothing(t *testing.T) {
	update := updating(t, true)
	update()
	assert.Zero(t, testing.AllocsPerRun(100, update))
}

// updating returns what reads a row and writes it.
func updating(t testing.TB, keep bool) func() {
	s := graph.Store{Name: "s", KeepHeaders: keep}
	e, err := Wrap(&s, memory.New(nil))
	require.NoError(t, err)
	h, err := Handle(&s, e, func() int64 { return 0 })
	require.NoError(t, err)
	key, value := []byte("some-key"), make([]byte, 100)
	return func() {
		if keep {
			keeperOf(h).Keep(some)
		}
		if _, _, _, err := h.Bytes.Get(key); err != nil {
			t.Fatal(err)
		}
		if err := h.Bytes.Put(key, value, 1); err != nil {
			t.Fatal(err)
		}
	}
}
