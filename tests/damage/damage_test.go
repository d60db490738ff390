package damage

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

var (
	damages = flag.Int("damages", 4, "how many files to damage, each in a process of its own")
	from    = flag.Uint64("from", 0, "the seed of the first; 0: a new one, which is printed")
)

// patience is how long a child waits for what has to come, in the time of a machine that may be busy with much else.
const patience = 4 * time.Minute

// result is what a child says.
type result struct {
	Seed                    uint64
	File, How, When, Reason string
	Found, Later            int64         // files that were found to be damaged: by the App that ran then, and by the next one
	Mended                  time.Duration // how long the App was not ready: from when the damage was found until the task ran again
	Pause, Own, Calm        time.Duration // the longest times without output: of other tasks, of the damaged one, and of all before the damage
}

func (r result) String() string {
	return fmt.Sprintf("seed %d: %-34s %-25s %-16s found %d+%d, mended in %4d ms, longest pause of other tasks %4d ms (%d ms before): %s",
		r.Seed, r.File, r.How, r.When, r.Found, r.Later, r.Mended.Milliseconds(), r.Pause.Milliseconds(), r.Calm.Milliseconds(), r.Reason)
}

// TestDamage damages one file of a running or a starting App, of any kind of store, in any of the ways of harms. The process and the App have to live,
// all counts have to be right, and the tasks that the file is none of go on meanwhile. Then the App is stopped and started again: what was damaged under
// a file that is open, and not read any more, is found at the latest now.
func TestDamage(t *testing.T) {
	first := *from
	if first == 0 {
		first = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("seeds %d to %d; go test ./tests/damage -from %d -damages %d repeats them", first, first+uint64(*damages)-1, first, *damages)
	var all []result
	for seed := first; seed < first+uint64(*damages); seed++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.count=1", "-test.timeout=8m")
		cmd.Env = append(os.Environ(), "DAMAGE_SEED="+strconv.FormatUint(seed, 10))
		out, err := cmd.CombinedOutput()
		if !assert.NoError(t, err, "seed %d:\n%s", seed, tail(out)) {
			continue
		}
		_, line, ok := strings.Cut(string(out), "RESULT ")
		require.True(t, ok, "seed %d:\n%s", seed, tail(out))
		line, _, _ = strings.Cut(line, "\n")
		var r result
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		t.Log(r)
		all = append(all, r)
	}
	summarize(t, all)
}

func tail(b []byte) []byte { return b[max(0, len(b)-6000):] }

func summarize(t *testing.T, all []result) {
	var pauses, calm, mended []time.Duration
	for _, r := range all {
		if r.Pause > 0 && r.Calm > 0 {
			pauses, calm = append(pauses, r.Pause), append(calm, r.Calm)
		}
		if r.Mended > 0 {
			mended = append(mended, r.Mended)
		}
	}
	slices.Sort(pauses)
	slices.Sort(calm)
	slices.Sort(mended)
	if len(pauses) > 0 {
		t.Logf("%d damaged, %d of them mended under a running App; pauses of other tasks: median %v, longest %v; before the damage: median %v, longest %v",
			len(all), len(mended), pauses[len(pauses)/2], pauses[len(pauses)-1], calm[len(calm)/2], calm[len(calm)-1])
	}
	if len(mended) > 0 {
		t.Logf("mended after: median %v, longest %v", mended[len(mended)/2], mended[len(mended)-1])
	}
}

// TestChild is the process of one seed; without one it does nothing.
func TestChild(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("DAMAGE_SEED"), 10, 64)
	if err != nil {
		return
	}
	c := &child{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), res: result{Seed: seed}, want: map[string]int64{}, last: map[int32]time.Time{}}
	c.run()
	line, err := json.Marshal(c.res)
	require.NoError(t, err)
	fmt.Println("RESULT " + string(line))
}

const (
	partitions = 3
	keys       = 240
)

var inputs = []string{"in", "other", "versions", "purchases", "shoppers", "kept", "readonly", "global"}

type child struct {
	t   *testing.T
	rnd *rand.Rand
	b   *broker.Broker
	cfg millstream.Config
	res result

	dir     string           // of the store partition whose file is damaged, below that of the application
	want    map[string]int64 // records of each key of "in"
	wrong   []string         // the counts that are not
	earlier string           // a copy of the state directory, of an earlier day

	mu       sync.Mutex
	last     map[int32]time.Time // when the last count of each partition came
	watching bool
	pauses   [partitions]time.Duration
}

// text is a topic of strings.
func text(name string) stream.Topic[string, string] {
	return stream.NewTopic(name, serde.String, serde.String)
}

// program has a store of every kind.
func program(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	drop := func(stream.Record[string, string]) {}
	first := func(a, _ string) string { return a }
	events := stream.From(b, text("in"))
	grouped := stream.GroupByKey(events)
	counts := table.Count(grouped, "counts")
	stream.To(table.ToStream(counts), stream.NewTopic("counts", serde.String, serde.Int64))
	stream.ForEach(table.ToStream(table.SuppressFor(counts, time.Second, "held", table.MaxRecords(100))), func(stream.Record[string, int64]) {})
	stream.ForEach(table.ToStream(table.Count(grouped, "headed", store.KeepHeaders())), func(stream.Record[string, int64]) {})
	windowed := func(stream.Record[window.Key[string], int64]) {}
	stream.ForEach(table.ToStream(table.CountWindows(grouped, window.Tumbling(time.Minute), "windows")), windowed)
	stream.ForEach(table.ToStream(table.CountWindows(grouped, window.Tumbling(time.Second).OnClose(), "closed")), windowed)
	stream.ForEach(table.ToStream(table.AggregateSessions(grouped, window.Sessions(time.Second), "sessions", func() int64 { return 0 },
		func(_, _ string, n int64) int64 { return n + 1 }, func(_ string, a, b int64) int64 { return a + b })), windowed)
	versions := table.From(b, text("versions"), "versions", store.Versions(time.Hour))
	stream.ForEach(join.StreamTable(events, versions, "with-versions", first), drop)
	stream.ForEach(join.StreamTable(events, table.From(b, text("kept"), "kept", store.SourceIsChangelog()), "with-kept", first), drop)
	stream.ForEach(join.StreamStream(events, stream.From(b, text("other")), window.Within(time.Second), "joined", first), drop)
	bought := join.ForeignKey(table.From(b, text("purchases"), "purchases"), table.From(b, text("shoppers"), "shoppers"), "bought",
		func(_, shopper string) (string, bool) { return shopper, true }, first)
	stream.ForEach(table.ToStream(bought), drop)
	readonly := store.NewKeyValue("readonly", serde.String, serde.String)
	stream.ReadOnlyStore(b, text("readonly"), readonly)
	stream.ForEach(stream.Process(events, "read", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		rows := readonly.In(c)
		return func(r stream.Record[string, string]) error {
			_, _, err := rows.Get(r.Key)
			return err
		}, nil
	}, readonly), drop)
	global := table.Global(b, text("global"), "global")
	byKey := func(r stream.Record[string, string]) (string, bool) { return r.Key, true }
	stream.ForEach(join.StreamGlobal(events, global, byKey, first), drop)
	top, err := b.Build()
	require.NoError(t, err)
	return top
}

// write writes n records to each input.
func (c *child) write(n int) {
	for _, topic := range inputs {
		rs := make([]broker.Record, n)
		for i := range rs {
			k := c.rnd.IntN(keys)
			key := fmt.Sprintf("key %04d", k)
			rs[i] = broker.Record{Partition: int32(k % partitions), Key: []byte(key), Value: bytes.Repeat([]byte{'v'}, 20+c.rnd.IntN(60)), Time: time.Now()}
			switch topic {
			case "in":
				c.want[key]++
			case "purchases":
				rs[i].Value = fmt.Appendf(nil, "key %04d", c.rnd.IntN(keys))
			}
		}
		require.NoError(c.t, c.b.Produce(c.t.Context(), topic, rs...))
	}
}

func (c *child) run() {
	t := c.t
	var topics []broker.Option
	for _, topic := range append(slices.Clone(inputs), "counts") {
		if topic == "kept" || topic == "readonly" {
			topics = append(topics, broker.Topic(topic, partitions, "cleanup.policy=compact"))
			continue
		}
		topics = append(topics, broker.Topic(topic, partitions))
	}
	c.b = broker.Start(t, topics...)
	var log bytes.Buffer
	c.cfg = millstream.Config{
		ApplicationID: "app", Brokers: c.b.Brokers(), StateDir: t.TempDir(), Workers: 2,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	tiny := statedir.With(t.Context(), statedir.Options{NoSync: true, PageSize: 1024, FileBytes: 4 << 10, Factor: 3, ReplayBytes: c.replay()})
	runToEnd := func() int64 {
		app, err := millstream.New(program(t), c.cfg)
		require.NoError(t, err)
		require.NoError(t, app.RunToEnd(tiny))
		return app.Stats().Damaged
	}
	c.write(1000)
	runToEnd()
	c.earlier = filepath.Join(t.TempDir(), "earlier")
	require.NoError(t, os.CopyFS(c.earlier, os.DirFS(filepath.Join(c.cfg.StateDir, "app"))))
	c.write(500)
	runToEnd()

	c.choose()
	before := c.rnd.IntN(3) == 0
	if c.res.When = "while it runs"; before {
		c.res.When = "before the start"
		c.damage()
	}
	app, err := millstream.New(program(t), c.cfg)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(tiny)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	go c.follow(ctx)
	if !before {
		c.await("the App is ready", done, func() bool { return app.Ready() == nil })
		c.load(300 * time.Millisecond)
		c.watch(true)
		c.load(400 * time.Millisecond)
		c.watch(false)
		c.res.Calm = slices.Max(c.pauses[:])
		clear(c.pauses[:])
		c.watch(true)
		c.damage()
	}
	ended := make(chan time.Duration, 1)
	loaded := make(chan struct{})
	go func() { // how long the App was not ready
		var first, last time.Time
		for ; ; time.Sleep(time.Millisecond) {
			select {
			case <-loaded:
				ended <- last.Sub(first)
				return
			default:
			}
			if app.Ready() != nil {
				last = time.Now()
				if first.IsZero() {
					first = last
				}
			}
		}
	}()
	c.load(500 * time.Millisecond)
	c.await("the App is ready", done, func() bool { c.write(6); return app.Ready() == nil })
	if before {
		c.watch(true)
	}
	c.load(300 * time.Millisecond)
	c.watch(false)
	close(loaded)
	notReady := <-ended
	c.await("all counts are right", done, c.right)
	c.await("the App is ready", done, func() bool { return app.Ready() == nil })
	require.NoError(t, app.Live())
	stop()
	require.NoError(t, <-done)
	stats := app.Stats()
	c.res.Found = stats.Damaged
	if stats.Damaged > 0 && !before {
		c.res.Mended = notReady
	}
	c.write(50)
	c.res.Later = runToEnd()
	require.True(t, c.right(), "after another start: %v", c.wrong)
	found := c.res.Found + c.res.Later
	require.LessOrEqual(t, found, int64(1), "%s", &log)
	require.Equal(t, int(found), strings.Count(log.String(), "level=ERROR"), "%s", &log)
	if _, reason, ok := strings.Cut(log.String(), "reason="); ok {
		c.res.Reason = strings.TrimSpace(reason)
	}
	c.pause()
}

// pause takes the longest times without output, of tasks that have the damaged file and of others.
func (c *child) pause() {
	own, _ := strconv.Atoi(filepath.Base(c.dir))
	for p, d := range c.pauses {
		switch {
		case filepath.Dir(c.dir) == "global": // all tasks look rows up in it
			c.res.Own = max(c.res.Own, d)
		case p == own:
			c.res.Own = d
		default:
			c.res.Pause = max(c.res.Pause, d)
		}
	}
}

// load writes records for a while.
func (c *child) load(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c.write(6)
	}
}

func (c *child) watch(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for p := range c.pauses {
		if c.watching && !on {
			c.pauses[p] = max(c.pauses[p], now.Sub(c.last[int32(p)]))
		}
		c.last[int32(p)] = now
	}
	c.watching = on
}

// follow notes when counts come.
func (c *child) follow(ctx context.Context) {
	for r, err := range c.b.Follow(ctx, "counts") {
		if err != nil {
			return
		}
		c.mu.Lock()
		now := time.Now()
		if c.watching {
			c.pauses[r.Partition] = max(c.pauses[r.Partition], now.Sub(c.last[r.Partition]))
		}
		c.last[r.Partition] = now
		c.mu.Unlock()
	}
}

// right reports whether the last count of each key is that of its records, each of them once: the process does not die, and damage takes nothing back
// that is committed.
func (c *child) right() bool {
	rs, err := c.b.Read(c.t.Context(), "counts")
	require.NoError(c.t, err)
	got := map[string]int64{}
	for _, r := range rs {
		n, err := serde.Int64.Decode(r.Value)
		require.NoError(c.t, err)
		got[string(r.Key)] = n
	}
	c.wrong = nil
	for k, n := range c.want {
		require.LessOrEqual(c.t, got[k], n, "more than there is of %s", k)
		if got[k] != n {
			c.wrong = append(c.wrong, fmt.Sprintf("%s: %d of %d", k, got[k], n))
		}
	}
	return len(c.wrong) == 0
}

func (c *child) await(what string, done chan error, f func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-done:
			require.NoError(c.t, err, "the App has ended")
			require.FailNow(c.t, "the App has ended")
		default:
		}
		require.True(c.t, time.Now().Before(end), "until %s it took more than %v; counts that were wrong at last: %v",
			what, patience, c.wrong)
	}
}

// replay is how much of a changelog may have to be replayed. With the little one the App flushes and merges all the time, and may be done with a file
// before it reads what is wrong with it; otherwise it only reads, until it is stopped.
func (c *child) replay() int64 {
	if c.res.Seed%3 == 0 {
		return 16 << 10
	}
	return 0
}

// partitionsOnDisk returns the directories of store partitions, by the directory of the store.
func (c *child) partitionsOnDisk() map[string][]string {
	roots, err := filepath.Glob(filepath.Join(c.cfg.StateDir, "app", "*", "*", "root"))
	require.NoError(c.t, err)
	stores := map[string][]string{}
	for _, root := range roots {
		dir, err := filepath.Rel(filepath.Join(c.cfg.StateDir, "app"), filepath.Dir(root))
		require.NoError(c.t, err)
		stores[filepath.Dir(dir)] = append(stores[filepath.Dir(dir)], dir)
	}
	return stores
}

// choose takes a partition of any store. Seeds that follow one another have the stores in turn.
func (c *child) choose() {
	stores := c.partitionsOnDisk()
	require.GreaterOrEqual(c.t, len(stores), 14, "%v", stores)
	names := slices.Sorted(maps.Keys(stores))
	of := stores[names[c.res.Seed/uint64(len(harms))%uint64(len(names))]]
	c.dir = of[c.rnd.IntN(len(of))]
}

// filesOf returns the files of a store partition: its root, or its run files.
func (c *child) filesOf(dir string, root bool) []string {
	pattern := "*.run"
	if root {
		pattern = "root"
	}
	files, err := filepath.Glob(filepath.Join(c.cfg.StateDir, "app", dir, pattern))
	require.NoError(c.t, err)
	return files
}

// A harm is a way to damage a file. It returns what is in the file then; nil: the file is removed.
type harm struct {
	how string
	// visible: what is left of a page shows that it is damaged. A file that is open may be harmed in no other way: its pages are compared with their
	// checksums once, and what somebody writes into them after that is believed. Those of the filter show nothing: rows that it has forgotten are not there.
	visible bool
	do      func(c *child, path string, b []byte) ([]byte, error)
}

var harms = []harm{
	{"a byte changed", false, func(c *child, _ string, b []byte) ([]byte, error) {
		b[c.rnd.IntN(len(b))] ^= byte(1 + c.rnd.IntN(255))
		return b, nil
	}},
	{"a page missing", true, func(c *child, _ string, b []byte) ([]byte, error) {
		at := c.rnd.IntN(len(b)) / 1024 * 1024
		clear(b[at:min(at+1024, len(b))])
		return b, nil
	}},
	{"its end missing", true, func(c *child, _ string, b []byte) ([]byte, error) { return b[:c.rnd.IntN(len(b))], nil }},
	{"rubbish", true, func(c *child, _ string, b []byte) ([]byte, error) {
		for i := range b {
			b[i] = byte(c.rnd.Uint32())
		}
		return b, nil
	}},
	{"removed", false, func(*child, string, []byte) ([]byte, error) { return nil, nil }},
	{"that of another store", false, func(c *child, path string, _ []byte) ([]byte, error) {
		var others []string
		for store, dirs := range c.partitionsOnDisk() {
			if store != filepath.Dir(c.dir) {
				others = append(others, dirs...)
			}
		}
		slices.Sort(others)
		return c.like(path, others)
	}},
	{"that of another partition", false, func(c *child, path string, _ []byte) ([]byte, error) {
		var others []string
		for store, dirs := range c.partitionsOnDisk() {
			for _, dir := range dirs {
				// The global store has one partition, and takes one of another store with the same rows.
				if dir != c.dir && (store == filepath.Dir(c.dir) || filepath.Dir(c.dir) == "global" && store == "kept") {
					others = append(others, dir)
				}
			}
		}
		slices.Sort(others)
		return c.like(path, others)
	}},
	{"another of the partition", false, func(c *child, path string, b []byte) ([]byte, error) {
		others := slices.DeleteFunc(c.filesOf(c.dir, false), func(f string) bool { return f == path })
		if len(others) == 0 {
			return b[:len(b)/2], nil
		}
		return os.ReadFile(others[c.rnd.IntN(len(others))])
	}},
	{"of an earlier day", false, func(c *child, path string, _ []byte) ([]byte, error) {
		names, err := filepath.Glob(filepath.Join(c.earlier, c.dir, "*"))
		require.NoError(c.t, err)
		root := filepath.Join(c.earlier, c.dir, "root")
		if filepath.Base(path) == "root" {
			return os.ReadFile(root)
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name == root })
		return os.ReadFile(names[c.rnd.IntN(len(names))])
	}},
	// All files of an earlier day are a store that is right, of that day: its checkpoint says from where on the changelog is replayed.
	{"all of an earlier day", false, func(c *child, path string, _ []byte) ([]byte, error) {
		return os.ReadFile(filepath.Join(c.earlier, c.dir, "root"))
	}},
}

// like returns the content of a file of the same kind in one of other directories.
func (c *child) like(path string, dirs []string) ([]byte, error) {
	files := c.filesOf(dirs[c.rnd.IntN(len(dirs))], filepath.Base(path) == "root")
	if len(files) == 0 {
		return nil, os.ErrNotExist
	}
	return os.ReadFile(files[c.rnd.IntN(len(files))])
}

// damage damages a file of the store partition, in the way of the seed. The App may flush and merge meanwhile: then the file is not there any more, and
// another one is taken.
func (c *child) damage() {
	h := harms[c.res.Seed%uint64(len(harms))]
	c.res.How = h.how
	all := strings.HasPrefix(h.how, "all ")
	for {
		root := all || c.rnd.IntN(4) == 0
		files := c.filesOf(c.dir, root)
		if len(files) == 0 {
			continue
		}
		path := files[c.rnd.IntN(len(files))]
		b, err := os.ReadFile(path)
		if err == nil && all {
			err = c.bringBack()
		}
		before := bytes.Clone(b)
		if err == nil {
			b, err = h.do(c, path, b)
		}
		if err == nil && h.visible && c.res.When == "while it runs" && strings.HasSuffix(path, ".run") && len(b) == len(before) {
			copy(b[filterOf(before):], before[filterOf(before):])
		}
		if err == nil {
			err = c.replace(path, b, h.visible || c.res.When == "before the start")
		}
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(c.t, err)
		c.res.File, err = filepath.Rel(filepath.Join(c.cfg.StateDir, "app"), path)
		require.NoError(c.t, err)
		return
	}
}

// filterOf returns where the filter of a run file begins, behind the pages of its rows: docs/format/store.md.
func filterOf(b []byte) int {
	const trailer = 24
	tail := b[len(b)-trailer-int(binary.BigEndian.Uint32(b[len(b)-trailer:])):]
	return int(binary.BigEndian.Uint32(tail[1:])) * int(binary.BigEndian.Uint64(tail[5:]))
}

// bringBack brings back the run files of an earlier day that are not there any more. A name is used once, so the others are as they were.
func (c *child) bringBack() error {
	from := filepath.Join(c.earlier, c.dir)
	names, err := filepath.Glob(filepath.Join(from, "*.run"))
	require.NoError(c.t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(c.t, err)
		to := filepath.Join(c.cfg.StateDir, "app", c.dir, filepath.Base(name))
		if _, err := os.Stat(to); err == nil {
			continue
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// replace gives a file another content: in the file, which whoever has it mapped sees, or in another file of its name.
func (c *child) replace(path string, b []byte, visible bool) error {
	if b == nil {
		return os.Remove(path)
	}
	if !visible || c.rnd.IntN(4) == 0 {
		if err := os.WriteFile(path+".other", b, 0o600); err != nil {
			return err
		}
		return os.Rename(path+".other", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Truncate(int64(len(b))), f.Close())
}
