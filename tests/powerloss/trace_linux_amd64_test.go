package powerloss_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/tests/powerloss"
)

func TestMain(m *testing.M) {
	if root := os.Getenv("POWERLOSS_TEST_ROOT"); root != "" {
		writeFiles(root)
		return
	}
	os.Exit(m.Run())
}

const (
	writers        = 4
	filesPerWriter = 100
)

func content(writer, n int) string { return fmt.Sprintf("file %d of writer %d", n, writer) }

// writeFiles is main of the process that is followed: threads that open and close files at once, so
// that the number of a file that one of them closes is that of the next one that another opens.
func writeFiles(root string) {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range filesPerWriter {
				f, err := os.Create(filepath.Join(root, fmt.Sprintf("%d-%d", w, n)))
				check(err)
				_, err = f.WriteString(content(w, n))
				check(err)
				check(f.Sync())
				check(f.Close())
			}
		})
	}
	all.Wait()
	dir, err := os.Open(root)
	check(err)
	check(dir.Sync())
	check(dir.Close())
}

// TestTrace checks that a trace misses nothing of what the threads of a process do: all that was synced
// is there after a power loss.
func TestTrace(t *testing.T) {
	root := t.TempDir()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "POWERLOSS_TEST_ROOT="+root)
	ops, err := powerloss.Trace(c, root)
	require.NoError(t, err)
	var disk powerloss.Disk
	for _, o := range ops {
		disk.Apply(o)
	}
	after := t.TempDir()
	require.NoError(t, disk.PowerOff(after, rand.New(rand.NewPCG(1, 2))))
	for w := range writers {
		for n := range filesPerWriter {
			b, err := os.ReadFile(filepath.Join(after, fmt.Sprintf("%d-%d", w, n)))
			require.NoError(t, err)
			require.Equal(t, content(w, n), string(b), "file %d of writer %d", n, w)
		}
	}
}
