package testdriver_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

var seed = flag.Uint64("seed", 0, "of random tests; 0: another one each time")

// However records, commits, crashes and lost disks follow one another: a count is what was sent, since state and offsets are committed
// together, and the store is its changelog.
func TestOracleCountUnderCrashes(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	rnd := rand.New(rand.NewPCG(s, 0))
	for range 50 {
		var n table.KTable[string, int64]
		top := build(t, func(b *stream.Builder) { n = table.Count(stream.GroupByKey(stream.From(b, in)), "n") })
		partitions := 1 + rnd.IntN(3)
		d := testdriver.New(t, top, testdriver.Partitions(partitions), testdriver.ManualCommit())
		i := testdriver.Input(d, in)
		want := map[string]int64{}
		for range rnd.IntN(60) {
			switch rnd.IntN(12) {
			case 0:
				d.Restart()
			case 1:
				d.Wipe()
			case 2, 3:
				d.Commit()
			default:
				k := fmt.Sprint(rnd.IntN(5))
				i.At(ms(int64(rnd.IntN(100)))).Send(k, "")
				want[k]++
			}
		}
		got := map[string]int64{}
		for row, err := range n.Store().In(d).All() {
			require.NoError(t, err)
			got[row.Key] = row.Value
		}
		assert.Equal(t, want, got)
		d.Commit()
		changelog := testdriver.Output(d, stream.NewTopic("testdriver-n-changelog", serde.String, serde.Int64))
		assert.Equal(t, want, testdriver.Table(changelog))
	}
}
