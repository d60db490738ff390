package lsm_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/tests/powerloss"
)

// TestCrash_PowerLoss checks that what Flush wrote survives a loss of power once Flush has returned, and
// that a loss at any other moment leaves files that can be opened: nothing of them is wrong, and nothing
// that was safe is missing. Merges go on meanwhile.
func TestCrash_PowerLoss(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const epochs = 14
	root := t.TempDir()
	ops, err := powerloss.Trace(child("write and sync", filepath.Join(root, "counts", "0"), seed, epochs), root)
	require.NoError(t, err)
	kinds := map[powerloss.Kind]int{}
	for _, o := range ops {
		kinds[o.Kind]++
	}
	t.Logf("%d steps: %d writes, %d syncs, %d of directories, %d renames", len(ops), kinds[powerloss.Write], kinds[powerloss.Sync], kinds[powerloss.SyncDir], kinds[powerloss.Rename])
	require.Positive(t, kinds[powerloss.Rename], "roots that were replaced")

	losses := min(*crashes/2, len(ops))
	if testing.Short() {
		losses = 30
	}
	var disk powerloss.Disk
	safe, found := 0, 0
	for i, o := range ops {
		disk.Apply(o)
		if o.Kind == powerloss.Output {
			_, err := fmt.Sscanf(string(o.Data), "safe %d", &safe)
			require.NoError(t, err, "%q", o.Data)
		}
		// All moments after an output or a rename, and a sample of the others. After a rename twice: what
		// is lost there is one of many parts of the names.
		times := 1
		switch {
		case o.Kind == powerloss.Rename:
			times = 2
		case o.Kind != powerloss.Output && rnd.IntN(len(ops)) >= losses:
			continue
		}
		for range times {
			after := t.TempDir()
			require.NoError(t, disk.PowerOff(after, rnd))
			path := filepath.Join(after, "counts", "0")
			if _, err := os.Stat(path); err == nil {
				found++
			}
			out, err := output(t, child("verify", path, seed, epochs))
			require.NoError(t, err, "after step %d, %v", i, o)
			require.False(t, strings.HasPrefix(out, "aside"), "after step %d, %v: %s", i, o, out)
			_, out, _ = strings.Cut("\n"+out, "\nepochs")
			has := -1
			_, err = fmt.Sscanf(out, " %d", &has)
			require.NoError(t, err, "%q", out)
			require.GreaterOrEqual(t, has, safe, "epochs on disk after step %d, %v", i, o)
			require.NoError(t, os.RemoveAll(after))
		}
	}
	require.Equal(t, epochs, safe)
	require.Positive(t, found)
}
