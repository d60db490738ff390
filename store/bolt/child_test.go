package bolt_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/storetest"
)

// A workload is what a store goes through, epoch by epoch: the same for everyone who knows the seed, so that a process can check
// what another has left.
type workload struct{ seed uint64 }

const (
	epochChanges = 200
	workloadKeys = 3000
)

// epoch returns the changes of epoch n, each of another key. Values say which epoch they are of.
func (w workload) epoch(n int) []store.Change {
	rnd := rand.New(rand.NewPCG(w.seed, uint64(n)))
	changes := make([]store.Change, 0, epochChanges)
	for _, k := range rnd.Perm(workloadKeys)[:epochChanges] {
		c := store.Change{Key: fmt.Appendf(nil, "key %05d", k), Time: int64(n)}
		if rnd.IntN(5) > 0 {
			c.Value = append(fmt.Appendf(nil, "%d:", n), bytes.Repeat([]byte{'v'}, rnd.IntN(200))...)
		}
		changes = append(changes, c)
	}
	return changes
}

// rows returns the store after the epochs before end.
func (w workload) rows(end int) map[string]storetest.Row {
	rows := map[string]storetest.Row{}
	for n := range end {
		for _, c := range w.epoch(n) {
			if c.Value == nil {
				delete(rows, string(c.Key))
			} else {
				rows[string(c.Key)] = storetest.Row{Key: string(c.Key), Value: string(c.Value), Time: c.Time}
			}
		}
	}
	return rows
}

// checkpoint returns where the changelog stands after the epochs before end.
func (w workload) checkpoint(end int) store.Checkpoint {
	return storetest.Checkpoint(int64(end * epochChanges))
}

// write makes epoch n in e, and settles it.
func (w workload) write(e store.Engine, n int) error {
	for _, c := range w.epoch(n) {
		var err error
		if c.Value == nil {
			err = e.Delete(c.Key, c.Time)
		} else {
			err = e.Put(c.Key, c.Value, c.Time)
		}
		if err != nil {
			return err
		}
	}
	epoch, err := e.Cut(func(store.Change) error { return nil })
	if err == nil {
		e.Settle(epoch, w.checkpoint(n+1))
	}
	return err
}

// restore replays what the file lacks of the epochs before end.
func (w workload) restore(e store.Engine, end int) error {
	c, _ := e.Checkpoint()
	if c.Offset%epochChanges != 0 || c.Offset > w.checkpoint(end).Offset {
		return fmt.Errorf("a checkpoint of %d when %d epochs are settled", c.Offset, end)
	}
	for n := int(c.Offset / epochChanges); n < end; n++ {
		if err := e.Restore(w.epoch(n), w.checkpoint(n+1)); err != nil {
			return err
		}
	}
	return nil
}

// check compares all rows.
func (w workload) check(e store.Engine, end int) error {
	want := w.rows(end)
	for row, err := range e.Scan(store.Range{}) {
		if err != nil {
			return err
		}
		got := storetest.Row{Key: string(row.Key), Value: string(row.Value), Time: row.Time}
		if want[got.Key] != got {
			return fmt.Errorf("got %.60v, want %.60v", got, want[got.Key])
		}
		delete(want, got.Key)
	}
	if len(want) > 0 {
		return fmt.Errorf("%d rows are missing", len(want))
	}
	return nil
}

// checkAccepted sees that the file holds nothing of an epoch from end on: invariant 1 of store.Engine.
func (w workload) checkAccepted(e store.Engine, end int) error {
	for row, err := range e.Scan(store.Range{}) {
		if err != nil {
			return err
		}
		if row.Time >= int64(end) {
			return fmt.Errorf("%q is of epoch %d, which is not settled", row.Key, row.Time)
		}
	}
	return nil
}

// child runs this test binary as another process.
func child(what, path string, seed uint64, end int) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "BOLT_TEST_CHILD="+what, "BOLT_TEST_PATH="+path,
		"BOLT_TEST_SEED="+strconv.FormatUint(seed, 10), "BOLT_TEST_END="+strconv.Itoa(end))
	return c
}

// runChild is main of a child.
func runChild(what string) {
	seed, _ := strconv.ParseUint(os.Getenv("BOLT_TEST_SEED"), 10, 64)
	end, _ := strconv.Atoi(os.Getenv("BOLT_TEST_END"))
	w, path := workload{seed}, os.Getenv("BOLT_TEST_PATH")
	var err error
	switch what {
	case "verify":
		err = childVerify(w, path, end)
	case "write":
		err = childWrite(w, path, end)
	case "full disk":
		err = childFullDisk(w, path)
	default:
		err = fmt.Errorf("%q is no child", what)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// childVerify opens what is at path, restores what it lacks and compares.
func childVerify(w workload, path string, end int) error {
	e, info, err := bolt.Open(bolt.Options{Path: path})
	if err != nil {
		return err
	}
	if err := w.checkAccepted(e, end); err != nil {
		return err
	}
	if err := w.restore(e, end); err != nil {
		return err
	}
	if err := w.check(e, end); err != nil {
		return err
	}
	if err := e.Close(true); err != nil {
		return err
	}
	if info.Aside != "" {
		fmt.Println("aside:", info.Reason)
	} else {
		fmt.Println("whole")
	}
	return nil
}

// childWrite goes on from epoch end for ever. It says which epoch it is about to settle.
func childWrite(w workload, path string, end int) error {
	o := writerOptions(path)
	o.RewriteRows = 450
	e, _, err := bolt.Open(o)
	if err != nil {
		return err
	}
	if err := w.restore(e, end); err != nil {
		return err
	}
	for n := end; ; n++ {
		fmt.Println(n)
		if err := w.write(e, n); err != nil {
			return err
		}
		if n%3 == 0 {
			if err := e.Flush(n%2 == 0); err != nil {
				return err
			}
		}
	}
}

// writerOptions make files with many small pages, written in many transactions.
func writerOptions(path string) bolt.Options {
	return bolt.Options{Path: path, PageSize: 1024, TransactionBytes: 30_000}.SmallMap(1 << 20)
}

func output(t testing.TB, c *exec.Cmd) (string, error) {
	t.Helper()
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s%.2000s", err, out, errs.String())
	}
	return string(out), err
}

// written makes a closed store of some epochs.
func written(t testing.TB, w workload, o bolt.Options, epochs int) {
	t.Helper()
	e := open(t, o)
	for n := range epochs {
		require.NoError(t, w.write(e, n))
		if n%3 == 2 {
			require.NoError(t, e.Flush(true))
		}
	}
	require.NoError(t, e.Close(false))
}
