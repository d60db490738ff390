package memory_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

// fill returns how long it takes to put n new keys into a store whose rows are in order already, and to delete half of them, in the
// fastest of three tries: others use the machine as well.
func fill(t *testing.T, n int) time.Duration {
	key := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15) }
	best := time.Hour
	for range 3 {
		e := memory.New(nil)
		require.NoError(t, e.Put(key(0), key(0), 0))
		for _, err := range e.Scan(store.Range{}) {
			require.NoError(t, err)
		}
		began := time.Now()
		for i := range n {
			_ = e.Put(key(i), key(i), 0)
		}
		for i := range n / 2 {
			_ = e.Delete(key(i), 0)
		}
		best = min(best, time.Since(began))
		left, err := e.Len()
		require.NoError(t, err)
		assert.EqualValues(t, n-n/2, left)
		require.NoError(t, e.Close(false))
	}
	return best
}

// 200,000 distinct keys take about 16 times as long as 12,500, not 256 times.
func TestManyKeysTakeLinearTime(t *testing.T) {
	few, many := fill(t, 12_500), fill(t, 200_000)
	t.Logf("12,500 keys: %v, 200,000 keys: %v", few, many)
	assert.Less(t, many, 80*few)
}
