package app_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// killable is a member that can be killed: it dies at its next crash point, and leaves neither its group nor its files in order.
type killable struct {
	*member
	mu   sync.Mutex
	dead bool
	at   crashpoint.Point // where it dies by itself
	met  chan struct{}
}

func startKillable(t *testing.T, top *topology.Topology, cfg millstream.Config, at crashpoint.Point) *killable {
	t.Helper()
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	m := &killable{at: at, met: make(chan struct{})}
	ctx, cancel := context.WithCancel(crashpoint.With(noSync(t.Context()), m.point))
	m.member = &member{App: app, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { m.done <- app.Run(ctx) }()
	return m
}

func (m *killable) point(p crashpoint.Point) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p == m.at && !m.dead {
		m.dead = true
		close(m.met)
	}
	if m.dead {
		panic(crashpoint.Dead)
	}
}

// kill has it die at whatever crash point it meets next; a record makes it meet one.
func (m *killable) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

func tasksOf(infos []millstream.StandbyInfo) (out []string) {
	for _, i := range infos {
		out = append(out, i.Task)
	}
	return out
}

// updates collects the events of standbys.
type updates struct {
	mu  sync.Mutex
	all []millstream.StandbyUpdate
}

func (u *updates) add(x millstream.StandbyUpdate) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = append(u.all, x)
}

func (u *updates) count(e millstream.StandbyEvent) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, x := range u.all {
		if x.Event == e {
			n++
		}
	}
	return n
}

// check checks that each standby of one App which stopped has begun before anything was applied, goes on where it was, and has ended in the end.
func (u *updates) check(t *testing.T) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	running := map[string]int64{}
	for _, x := range u.all {
		key := fmt.Sprint(x.Task, " ", x.Store, " ", x.Partition)
		assert.Equal(t, "app-"+x.Store+"-changelog", x.Topic)
		at, ok := running[key]
		switch x.Event {
		case millstream.StandbyStarted: // also after it has failed
			running[key] = x.Position
		case millstream.StandbyLoaded:
			assert.True(t, ok, "%v", x)
			assert.Greater(t, x.Position, at, "%v", x)
			running[key] = x.Position
		default:
			assert.True(t, ok, "%v", x)
			assert.Equal(t, at, x.Position, "%v", x)
			delete(running, key)
		}
	}
	assert.Empty(t, running, "these have not ended")
}

// A member that dies leaves tasks of which the other has standbys: it restores next to nothing, and counts on.
func TestStandby_FailoverRestoresOnlyWhatIsMissing(t *testing.T) {
	for name, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		for _, guarantee := range []millstream.Guarantee{millstream.AtLeastOnce, millstream.ExactlyOnce} {
			t.Run(fmt.Sprint(name, " ", guarantee), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { failover(t, guarantee, opts...) })
			})
		}
	}
}

func failover(t *testing.T, guarantee millstream.Guarantee, opts ...store.Option) {
	r := rand.New(rand.NewPCG(3, 4))
	b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
	top := simple(t, opts...)
	sum := map[string]int64{}
	var events updates
	cfg := func() millstream.Config {
		c := config(t, b)
		c.Standbys, c.Guarantee, c.SessionTimeout = 1, guarantee, 6*time.Second
		return c
	}
	first := startKillable(t, top, cfg(), 0)
	writeWords(t, b, r, 2000, sum)
	time.Sleep(10 * time.Second)
	watched := cfg()
	watched.Events.Standby = events.add
	second := start(t, top, watched)
	time.Sleep(20 * time.Second)
	for range 20 {
		writeWords(t, b, r, 100, sum)
		time.Sleep(time.Second)
	}
	require.Len(t, first.Tasks(), 2)
	require.Len(t, second.Tasks(), 2)
	require.ElementsMatch(t, names(first.Tasks()), tasksOf(second.Standbys()), "each has standbys of the other's tasks")
	require.ElementsMatch(t, names(second.Tasks()), tasksOf(first.Standbys()))
	for _, info := range second.Standbys() {
		assert.LessOrEqual(t, info.Lag, int64(1), "%v", info)
		assert.Positive(t, info.Position)
		assert.False(t, info.WarmUp)
	}
	restored := second.Stats().Restored
	promoted := events.count(millstream.StandbyPromoted)
	first.kill()
	writeWords(t, b, r, 100, sum)
	require.ErrorIs(t, <-first.done, crashpoint.Dead)
	time.Sleep(12 * time.Second)
	assert.Len(t, second.Tasks(), 4)
	assert.Equal(t, promoted+2, events.count(millstream.StandbyPromoted))
	assert.LessOrEqual(t, second.Stats().Restored-restored, int64(60), "what the standbys have is not read again")
	writeWords(t, b, r, 100, sum)
	time.Sleep(3 * time.Second)
	got := latest(t, b, "counts")
	for w, n := range sum {
		assert.GreaterOrEqual(t, got[w], n, w)
		if guarantee == millstream.ExactlyOnce {
			assert.Equal(t, n, got[w], w)
		}
	}
	second.stop()
	assert.Equal(t, got, latest(t, b, "app-counts-changelog"))
	assert.Empty(t, second.Standbys())
	events.check(t)
}

// Standbys are where their task is not: in another zone and another cluster, or at least in one of both.
func TestStandby_Tags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 6), broker.Topic("counts", 6))
		top := simple(t)
		write(t, b, "in", 0, 300)
		var members []*member
		for _, tags := range []map[string]string{{"zone": "a", "cluster": "1"}, {"zone": "a", "cluster": "2"}, {"zone": "b", "cluster": "2"}} {
			cfg := config(t, b)
			cfg.Standbys, cfg.Tags, cfg.StandbyTags = 1, tags, []string{"zone", "cluster"}
			members = append(members, start(t, top, cfg))
			time.Sleep(20 * time.Second)
		}
		first, second, third := members[0], members[1], members[2]
		for _, m := range members {
			require.Len(t, m.Tasks(), 2)
		}
		assert.Subset(t, tasksOf(third.Standbys()), names(first.Tasks()), "all is different there")
		assert.Subset(t, tasksOf(first.Standbys()), names(third.Tasks()), "all is different there")
		assert.Empty(t, second.Standbys(), "it has something in common with each")
		assert.Len(t, slices.Concat(first.Standbys(), third.Standbys()), 6)
		for _, m := range members {
			m.stop()
		}
	})
}

// A standby that is to be elsewhere, here since a member in another zone comes, ends when the one there has caught up, not before.
func TestStandby_StaysUntilTheOtherHasCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		top := simple(t)
		cfg := func(zone string) millstream.Config {
			c := config(t, b)
			c.Standbys, c.AcceptableLag, c.Tags, c.StandbyTags = 1, 50, map[string]string{"zone": zone}, []string{"zone"}
			return c
		}
		var third atomic.Pointer[member]
		var ended atomic.Int32
		observe := func(c millstream.Config) millstream.Config {
			c.Events.Standby = func(u millstream.StandbyUpdate) {
				m := third.Load()
				if u.Event != millstream.StandbyMigrated || m == nil {
					return
				}
				ended.Add(1)
				for _, info := range m.Standbys() {
					if info.Task == u.Task {
						assert.LessOrEqual(t, info.Lag, int64(50), "%v ends before the one in the other zone has caught up", u)
						return
					}
				}
				for _, task := range m.Tasks() {
					if task.ID == u.Task {
						return
					}
				}
				assert.Fail(t, "nobody else has it", "%v: %v", u, m.Standbys())
			}
			return c
		}
		first := start(t, top, observe(cfg("a")))
		for i := range 8 {
			write(t, b, "in", 1000*i, 1000)
		}
		time.Sleep(10 * time.Second)
		second := start(t, top, observe(cfg("a")))
		time.Sleep(time.Minute)
		require.Len(t, first.Standbys(), 2)
		require.Len(t, second.Standbys(), 2)
		third.Store(start(t, top, cfg("b")))
		time.Sleep(2 * time.Minute)
		assert.Subset(t, tasksOf(third.Load().Standbys()), append(names(first.Tasks()), names(second.Tasks())...))
		assert.Positive(t, ended.Load())
		n := 0
		for _, m := range []*member{first, second, third.Load()} {
			n += len(m.Standbys())
		}
		assert.Equal(t, 4, n, "one of each task")
		last := third.Swap(nil)
		second.stop()
		first.stop()
		last.stop()
	})
}

// Kill points of a promotion: another member, without standbys, goes on from whatever is in the files.
func TestStandby_KilledDuringPromotion(t *testing.T) {
	for _, p := range crashpoint.StandbyPoints() {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(p), 4))
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
				top := simple(t)
				sum := map[string]int64{}
				cfg := func() millstream.Config {
					c := config(t, b)
					c.Standbys, c.SessionTimeout = 1, 6*time.Second
					return c
				}
				first := start(t, top, cfg())
				writeWords(t, b, r, 500, sum)
				time.Sleep(10 * time.Second)
				second := cfg()
				victim := startKillable(t, top, second, p)
				time.Sleep(15 * time.Second)
				writeWords(t, b, r, 500, sum)
				time.Sleep(5 * time.Second)
				first.stop()
				<-victim.met
				require.ErrorIs(t, <-victim.done, crashpoint.Dead)
				time.Sleep(10 * time.Second) // the session of the dead
				last := start(t, top, second)
				writeWords(t, b, r, 100, sum)
				time.Sleep(15 * time.Second)
				last.stop()
				assert.GreaterOrEqual(t, len(latest(t, b, "counts")), len(sum))
				got := latest(t, b, "counts")
				for w, n := range sum {
					assert.GreaterOrEqual(t, got[w], n, w)
				}
				assert.Equal(t, got, latest(t, b, "app-counts-changelog"))
			})
		})
	}
}

// A task does not move to a member that would have to restore much, and never stops: the member warms up first.
func TestStandby_TaskWarmsUpBeforeItMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		var events updates
		cfg := func() millstream.Config {
			c := config(t, b)
			c.AcceptableLag, c.Events.Standby = 100, events.add
			return c
		}
		first := start(t, simple(t), cfg())
		for i := range 8 {
			write(t, b, "in", 1000*i, 1000)
		}
		time.Sleep(10 * time.Second)
		second := start(t, simple(t), cfg())
		time.Sleep(30 * time.Second)
		assert.Len(t, first.Tasks(), 2)
		assert.Len(t, second.Tasks(), 2)
		assert.Equal(t, 2, events.count(millstream.StandbyPromoted), "%v", events.all)
		assert.LessOrEqual(t, second.Stats().Restored, int64(200))
		assert.Empty(t, first.Standbys(), "none are configured")
		second.stop()
		first.stop()
	})
}

func TestStandby_ConfigIsChecked(t *testing.T) {
	_, err := millstream.New(upper(t), millstream.Config{ApplicationID: "app", Brokers: []string{"a:1"}, Standbys: -1, AcceptableLag: -1})
	require.ErrorContains(t, err, "Config.Standbys is -1: a number of 0 or more is needed")
	assert.ErrorContains(t, err, "Config.AcceptableLag is -1: a number of 1 or more, or 0 for 10000, is needed")
}

// A standby may be of a changelog that was deleted since, or older than what the log still has: it begins again, and no App stops.
func TestStandby_OldStateIsRestoredAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 9))
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		top := simple(t)
		sum := map[string]int64{}
		cfg := config(t, b)
		cfg.Standbys = 1
		first := start(t, top, cfg)
		writeWords(t, b, r, 300, sum)
		time.Sleep(5 * time.Second)
		other := cfg
		other.StateDir = t.TempDir()
		second := start(t, top, other)
		time.Sleep(10 * time.Second)
		require.Len(t, second.Standbys(), 1)
		old := second.Standbys()[0].Position
		second.stop() // its files have the standby
		for range 20 {
			writeWords(t, b, r, 100, sum)
			time.Sleep(time.Second)
		}
		deleteBefore(t, b, "app-counts-changelog", old+20) // the files lie before the start of the log
		var events updates
		other.Events.Standby = events.add
		second = start(t, top, other)
		time.Sleep(15 * time.Second)
		require.Len(t, second.Standbys(), 1)
		info := second.Standbys()[0]
		assert.LessOrEqual(t, info.Lag, int64(1))
		assert.Greater(t, info.Records, int64(20), "all that the log has was read")
		assert.Equal(t, old+20, events.all[0].Position, "it began at the start of the log")
		first.stop()
		time.Sleep(10 * time.Second)
		writeWords(t, b, r, 100, sum)
		time.Sleep(5 * time.Second)
		second.stop()
		assert.Equal(t, sum, latest(t, b, "counts"))
	})
}

// A damaged file of a standby costs that standby a restore. The App goes on.
func TestStandby_DamagedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 9))
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		top := simple(t)
		sum := map[string]int64{}
		cfg := config(t, b)
		cfg.Standbys = 1
		first := start(t, top, cfg)
		writeWords(t, b, r, 300, sum)
		time.Sleep(5 * time.Second)
		other := cfg
		other.StateDir = t.TempDir()
		second := start(t, top, other)
		time.Sleep(10 * time.Second)
		second.stop()
		corrupt(t, other.StateDir)
		var damaged []millstream.DamageInfo
		other.Events.Damaged = func(d millstream.DamageInfo) { damaged = append(damaged, d) }
		var events updates
		other.Events.Standby = events.add
		second = start(t, top, other)
		time.Sleep(15 * time.Second)
		require.Len(t, second.Standbys(), 1)
		assert.Len(t, damaged, 1)
		assert.LessOrEqual(t, second.Standbys()[0].Lag, int64(1))
		require.NoError(t, second.Ready())
		first.stop()
		time.Sleep(10 * time.Second)
		writeWords(t, b, r, 100, sum)
		time.Sleep(5 * time.Second)
		second.stop()
		events.check(t)
		assert.Equal(t, sum, latest(t, b, "counts"))
	})
}

// corrupt changes a byte of the roots of all stores.
func corrupt(t *testing.T, dir string) {
	t.Helper()
	n := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "root" {
			return err
		}
		n++
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		b[len(b)/2] ^= 1
		return os.WriteFile(path, b, 0o600)
	}))
	require.Positive(t, n)
}

// A store that is kept from a topic of the user follows it up to the committed offset, and no further.
func TestStandby_SourceIsChangelog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("rows", 1, compacted), broker.Topic("out", 1))
		builder := stream.NewBuilder()
		rows := table.From(builder, stream.NewTopic("rows", serde.String, serde.String), "kept", store.SourceIsChangelog())
		stream.To(table.ToStream(rows), out)
		top := build(t, builder)
		cfg := config(t, b)
		cfg.Standbys = 1
		first := start(t, top, cfg)
		write(t, b, "rows", 0, 100)
		time.Sleep(5 * time.Second)
		other := cfg
		other.StateDir = t.TempDir()
		second := start(t, top, other)
		time.Sleep(10 * time.Second)
		write(t, b, "rows", 100, 50)
		time.Sleep(15 * time.Second)
		require.Len(t, second.Standbys(), 1)
		assert.EqualValues(t, 150, second.Standbys()[0].Position)
		assert.EqualValues(t, 150, second.Standbys()[0].Records)
		restored := second.Stats().Restored
		first.stop()
		time.Sleep(10 * time.Second)
		assert.Equal(t, restored, second.Stats().Restored, "nothing was read again")
		n := 0
		for _, err := range rows.Store().In(second).All() {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, 150, n)
		second.stop()
	})
}

// A store in memory that has no changelog is empty when its task comes back, with standbys of others or without: nobody knows what the
// task has counted elsewhere.
func TestStandby_InMemoryWithoutChangelog(t *testing.T) {
	for standbys := range 2 {
		t.Run(fmt.Sprint(standbys), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
				top := simple(t, store.InMemory(), store.NoChangelog())
				cfg := config(t, b)
				cfg.Standbys = standbys
				first := start(t, top, cfg)
				for range 3 {
					send(t, b, 0, "v")
					send(t, b, 1, "v")
				}
				time.Sleep(5 * time.Second)
				cfg.StateDir = t.TempDir()
				second := start(t, top, cfg)
				time.Sleep(10 * time.Second)
				moved := second.Tasks()
				require.Len(t, moved, 1)
				partition := int32(moved[0].ID[len(moved[0].ID)-1] - '0')
				send(t, b, partition, "v")
				time.Sleep(5 * time.Second)
				second.stop()
				time.Sleep(10 * time.Second)
				send(t, b, partition, "v")
				time.Sleep(5 * time.Second)
				assert.EqualValues(t, 1, latest(t, b, "counts")[fmt.Sprint(partition)])
				first.stop()
			})
		})
	}
}

// A standby that is slow to end holds up its own task alone, not the others that come with it.
func TestStandby_SlowToEndHoldsUpItsTaskAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1), broker.Topic("texts", 3), broker.Topic("out", 3))
		builder := stream.NewBuilder()
		stream.To(table.ToStream(table.Count(stream.GroupByKey(stream.From(builder, in)), "counts")), counts)
		stream.To(stream.From(builder, stream.NewTopic("texts", serde.String, serde.String)), out)
		top := build(t, builder)
		cfg := config(t, b)
		cfg.Standbys, cfg.MaxProcessingTime = 1, time.Hour
		var slow atomic.Bool
		observe := func(c millstream.Config) millstream.Config {
			c.Events.Standby = func(u millstream.StandbyUpdate) {
				if u.Event == millstream.StandbyLoaded && slow.CompareAndSwap(true, false) {
					time.Sleep(30 * time.Second)
				}
			}
			return c
		}
		first := start(t, top, cfg)
		write(t, b, "in", 0, 100)
		time.Sleep(5 * time.Second)
		other := cfg
		other.StateDir = t.TempDir()
		second := start(t, top, observe(other))
		time.Sleep(20 * time.Second)
		require.Len(t, second.Standbys(), 1)
		require.Len(t, first.Tasks(), 2, "one of them without state")
		slow.Store(true)
		write(t, b, "in", 100, 10)
		time.Sleep(time.Second)
		require.False(t, slow.Load())
		first.stop()
		write(t, b, "in", 0, 1)
		time.Sleep(5 * time.Second)
		require.Len(t, second.Tasks(), 4)
		write(t, b, "texts", 0, 30)
		time.Sleep(2 * time.Second)
		assert.Len(t, committedRecords(t, b, "out"), 30, "all three tasks without state run")
		assert.EqualValues(t, 1, latest(t, b, "counts")["k0"], "the other one waits")
		time.Sleep(40 * time.Second)
		assert.EqualValues(t, 2, latest(t, b, "counts")["k0"])
		second.stop()
	})
}

// A standby that is to run its task is slow to end: its member loses the task and gets it again meanwhile. The task waits for the stores of
// the standby once more, and the App goes on.
func TestStandby_LostAndAssignedWhileItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 9))
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		top := simple(t)
		sum := map[string]int64{}
		cfg := config(t, b)
		cfg.Standbys, cfg.SessionTimeout, cfg.MaxProcessingTime = 1, 6*time.Second, time.Hour
		first := start(t, top, cfg)
		writeWords(t, b, r, 300, sum)
		time.Sleep(5 * time.Second)
		cfg.StateDir = t.TempDir()
		v := newValve(b.Dialer())
		cfg.Dialer = v.Dial
		var slow atomic.Bool
		cfg.Events.Standby = func(u millstream.StandbyUpdate) {
			if u.Event == millstream.StandbyLoaded && slow.CompareAndSwap(true, false) {
				time.Sleep(2 * time.Minute)
			}
		}
		second := start(t, top, cfg)
		time.Sleep(10 * time.Second)
		require.Len(t, second.Standbys(), 1)
		slow.Store(true)
		writeWords(t, b, r, 100, sum)
		time.Sleep(time.Second)
		require.False(t, slow.Load())
		first.stop()
		time.Sleep(5 * time.Second)
		require.Len(t, second.Tasks(), 1)
		v.freeze() // for longer than its session
		time.Sleep(20 * time.Second)
		v.thaw()
		time.Sleep(3 * time.Minute)
		require.NoError(t, second.Ready())
		writeWords(t, b, r, 100, sum)
		time.Sleep(5 * time.Second)
		second.stop()
		assert.Equal(t, sum, latest(t, b, "app-counts-changelog"))
	})
}
