package memtable_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// 200,000 distinct keys, put into a store whose rows are in order already, half of them deleted
// again, take a tenth of a second. Where each new key costs time in proportion to the keys that are
// there, they take minutes: half a minute tells the two apart. It is of the process's own time, since on
// a machine that is busy with much else any time may pass on the clock.
func TestIndex_ManyKeysTakeLinearTime(t *testing.T) {
	const n = 200_000
	key := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15) }
	e := memtable.New(nil)
	defer func() { require.NoError(t, e.Close(false)) }()
	require.NoError(t, e.Put(key(0), key(0), 0))
	for _, err := range e.Scan(storage.Range{}) {
		require.NoError(t, err)
	}
	began := cpuTime()
	for i := range n {
		if i%1000 == 0 {
			require.Less(t, cpuTime()-began, 30*time.Second, "after %d keys", i)
		}
		if err := e.Put(key(i), key(i), 0); err != nil {
			require.NoError(t, err)
		}
	}
	for i := range n / 2 {
		if err := e.Delete(key(i), 0); err != nil {
			require.NoError(t, err)
		}
	}
	left, err := e.Len()
	require.NoError(t, err)
	assert.EqualValues(t, n-n/2, left)
	assert.Less(t, cpuTime()-began, 30*time.Second)
	t.Log(cpuTime() - began)
}
