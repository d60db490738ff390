package app_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

const keysOfDamage = 300

// everyKey writes a record for each of many keys into two partitions.
func everyKey(t *testing.T, b *broker.Broker, topic string) {
	var rs []broker.Record
	for i := range keysOfDamage {
		rs = append(rs, broker.Record{Partition: int32(i % 2), Key: fmt.Appendf(nil, "key %04d", i), Value: []byte("v")})
	}
	require.NoError(t, b.Produce(t.Context(), topic, rs...))
}

// reports are what an App says of damage.
type reports struct {
	mu     sync.Mutex
	events []millstream.DamageInfo
	log    bytes.Buffer
}

func (r *reports) in(cfg millstream.Config) millstream.Config {
	cfg.Logger = slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg.Events.Damaged = func(d millstream.DamageInfo) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, d)
	}
	return cfg
}

func (r *reports) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

// once sees that the damage of a file was said once, each way.
func (r *reports) once(t *testing.T, app *millstream.App, cfg millstream.Config, store string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Len(t, r.events, 1)
	d := r.events[0]
	assert.Equal(t, store, d.Store)
	assert.Zero(t, d.Partition)
	assert.NotEmpty(t, d.Reason)
	assert.FileExists(t, d.MovedTo)
	of, _, _ := strings.Cut(d.MovedTo, ".corrupt")
	assert.Equal(t, filepath.Dir(d.File), of, "%s was moved to %s", d.File, d.MovedTo)
	assert.EqualValues(t, 1, app.Stats().Damaged)
	assert.Equal(t, 1, strings.Count(r.log.String(), "level=ERROR"), "%s", &r.log)
	assert.Equal(t, 1, strings.Count(r.log.String(), "level="), "%s", &r.log)
}

// The ways in which the run files of a store are damaged: of bytes, when the App does not run or while it does.
var damages = map[string]func([]byte) []byte{
	"cut short":  func(b []byte) []byte { return b[:2*pageOfDamage] },
	"of rubbish": func(b []byte) []byte { return bytes.Repeat([]byte("rubbish "), len(b)/8) },
	"without leaves": func(b []byte) []byte {
		eachLeaf(b, func(page []byte) { clear(page) })
		return b
	},
}

const pageOfDamage = 1024

// eachLeaf calls f with the pages of a run file that have rows.
func eachLeaf(b []byte, f func(page []byte)) {
	const leaf, bucket = 2, 1
	for at := 2 * pageOfDamage; at+pageOfDamage <= len(b); at += pageOfDamage {
		p := b[at : at+pageOfDamage]
		if binary.NativeEndian.Uint64(p) == uint64(at/pageOfDamage) && binary.NativeEndian.Uint16(p[8:]) == leaf &&
			binary.NativeEndian.Uint32(p[16:]) != bucket {
			f(p)
		}
	}
}

// damageStore damages the run files of a store partition.
func damageStore(t *testing.T, dir string, how func([]byte) []byte) {
	files, err := filepath.Glob(filepath.Join(dir, "*.run"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		after := how(bytes.Clone(before))
		// In place: whoever has the file mapped sees it.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(after, 0)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(int64(len(after))))
		require.NoError(t, f.Close())
	}
}

// editRows changes the rows of a closed store, and all checksums with them: f gets the element of a row in its page and the row as it is stored.
func editRows(t *testing.T, dir string, f func(element, stored []byte)) {
	root, err := os.ReadFile(filepath.Join(dir, "root"))
	require.NoError(t, err)
	damageStore(t, dir, func(b []byte) []byte {
		eachLeaf(b, func(page []byte) {
			for i := range int(binary.NativeEndian.Uint16(page[10:])) {
				e := page[16+16*i:][:16]
				at := 16 + 16*i + int(binary.NativeEndian.Uint32(e[4:])) + int(binary.NativeEndian.Uint32(e[8:]))
				f(e, page[at:][:binary.NativeEndian.Uint32(e[12:])])
			}
		})
		before := bytes.Clone(b[len(b)-12 : len(b)-8])
		table := len(b) - 24 - int(binary.BigEndian.Uint32(b[len(b)-24:]))
		tail := b[table:]
		table -= 4 * int(binary.BigEndian.Uint64(tail[5:])+uint64(binary.BigEndian.Uint32(tail[13:])))
		for i := range table / pageOfDamage {
			binary.BigEndian.PutUint32(b[table+4*i:], sum(b[i*pageOfDamage:][:pageOfDamage]))
		}
		binary.BigEndian.PutUint32(b[len(b)-12:], sum(b[table:len(b)-12]))
		// The root has the length and the checksum of each file.
		length := binary.BigEndian.AppendUint64(nil, uint64(len(b)))
		require.Equal(t, 1, bytes.Count(root, append(bytes.Clone(length), before...)))
		root = bytes.Replace(root, append(bytes.Clone(length), before...), append(length, b[len(b)-12:len(b)-8]...), 1)
		return b
	})
	root = binary.BigEndian.AppendUint32(root[:len(root)-4], sum(root[:len(root)-4]))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "root"), root, 0o600))
}

func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func startNoSync(t *testing.T, top *topology.Topology, cfg millstream.Config) *member {
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(noSync(t.Context()))
	m := &member{App: app, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { m.done <- app.Run(ctx) }()
	return m
}

// A damaged file costs its task a restore, and the App nothing: whenever it is damaged, and however.
func TestDamagedFile_IsRestoredInPlace(t *testing.T) {
	for how, damage := range damages {
		for _, when := range []string{"before the start", "while it runs", "while it runs, and is stopped"} {
			t.Run(how+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
					var said reports
					cfg := said.in(config(t, b))
					dir := filepath.Join(cfg.StateDir, "app", "counts", "0")
					everyKey(t, b, "in")
					runToEnd(t, simple(t), cfg)
					if when == "before the start" {
						damageStore(t, dir, damage)
					}
					m := startNoSync(t, simple(t), cfg)
					if when != "before the start" {
						time.Sleep(time.Second)
						require.NoError(t, m.Ready())
						damageStore(t, dir, damage)
					}
					everyKey(t, b, "in")
					await(t, b, "counts", 2*keysOfDamage)
					time.Sleep(time.Second) // a restore repeats nothing that was committed
					if strings.HasSuffix(when, "stopped") {
						m.cancel()
						require.NoError(t, <-m.done)
					} else {
						require.NoError(t, m.Ready())
						m.stop()
					}
					got := latest(t, b, "counts")
					require.Len(t, got, keysOfDamage)
					for k, n := range got {
						assert.EqualValues(t, 2, n, k)
					}
					said.once(t, m.App, cfg, "counts")
				})
			})
		}
	}
}

// The cut of a versioned store reads the store. Damage that is first found there leaves nothing of the epoch in the changelogs of the task's other
// stores: restored, it would be counted twice, though nothing has crashed.
func TestDamagedFile_FoundByCutCountsNothingTwice(t *testing.T) {
	program := func(t *testing.T) *topology.Topology {
		b := stream.NewBuilder()
		events := stream.From(b, in)
		stream.To(table.ToStream(table.Count(stream.GroupByKey(events), "counts")), counts)
		versions := store.NewVersioned("versions", serde.String, serde.String, time.Hour)
		stream.ForEach(stream.Process(events, "keep", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
			rows := versions.In(c)
			return func(r stream.Record[string, string]) error {
				var err error
				switch r.Value {
				case "v":
					_, _, err = rows.Put(r.Key, r.Value, r.Time)
				case "gone": // a cut looks for deletions that have expired
					_, _, err = rows.Delete(r.Key, r.Time)
				} // else the store is not read
				return err
			}, nil
		}, versions), func(stream.Record[string, string]) {})
		return build(t, b)
	}
	for how, damage := range damages {
		if how == "cut short" { // what the cut reads is there
			continue
		}
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
				var said reports
				cfg := said.in(config(t, b))
				everyKey(t, b, "in")
				require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: 0, Key: []byte("key 0000"), Value: []byte("gone")}))
				runToEnd(t, program(t), cfg)
				m := startNoSync(t, program(t), cfg)
				time.Sleep(time.Second)
				require.NoError(t, m.Ready())
				damageStore(t, filepath.Join(cfg.StateDir, "app", "versions+versions", "0"), damage)
				var rs []broker.Record
				for i := range keysOfDamage {
					rs = append(rs, broker.Record{Partition: int32(i % 2), Key: fmt.Appendf(nil, "key %04d", i), Value: []byte("not kept")})
				}
				require.NoError(t, b.Produce(t.Context(), "in", rs...))
				time.Sleep(time.Minute)
				require.NoError(t, m.Ready())
				m.stop()
				said.once(t, m.App, cfg, "versions")
				got := latest(t, b, "counts")
				require.Len(t, got, keysOfDamage)
				got["key 0000"]-- // its deletion
				for k, n := range got {
					assert.EqualValues(t, 2, n, k)
				}
			})
		})
	}
}

// A merge reads what no task has asked for. What it finds is mended in the running App, too.
func TestDamagedFile_FoundByMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		var said reports
		cfg := said.in(config(t, b))
		everyKey(t, b, "in")
		runToEnd(t, simple(t), cfg)
		app, err := millstream.New(simple(t), cfg)
		require.NoError(t, err)
		ctx, stop := context.WithCancel(statedir.With(t.Context(), statedir.Options{NoSync: true, PageSize: pageOfDamage, FileBytes: 2 << 10, Factor: 2, ReplayBytes: 1}))
		done := make(chan error, 1)
		go func() { done <- app.Run(ctx) }()
		time.Sleep(time.Second)
		require.NoError(t, app.Ready())
		damageStore(t, filepath.Join(cfg.StateDir, "app", "counts", "0"), damages["without leaves"])
		for i := range 20 { // keys that the filters say are not in the damaged files
			rs := make([]broker.Record, 30)
			for j := range rs {
				rs[j] = broker.Record{Partition: 0, Key: fmt.Appendf(nil, "another %d", 30*i+j), Value: []byte("v")}
			}
			require.NoError(t, b.Produce(t.Context(), "in", rs...))
			time.Sleep(time.Second)
		}
		everyKey(t, b, "in")
		time.Sleep(time.Minute)
		require.NoError(t, app.Ready())
		stop()
		require.NoError(t, <-done)
		for k, n := range latest(t, b, "counts") {
			want := int64(2)
			if strings.HasPrefix(k, "another") {
				want = 1
			}
			assert.Equal(t, want, n, k)
		}
		said.once(t, app, cfg, "counts")
	})
}

// Names that are taken do not keep a file from being moved aside.
func TestDamagedFile_NamesWhenMovedAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		var said reports
		cfg := said.in(config(t, b))
		dir := filepath.Join(cfg.StateDir, "app", "counts", "0")
		everyKey(t, b, "in")
		runToEnd(t, simple(t), cfg)
		require.NoError(t, os.MkdirAll(filepath.Join(dir+".corrupt", "something"), 0o700))
		require.NoError(t, os.WriteFile(dir+".corrupt.2", []byte("an older one"), 0o600))
		damageStore(t, dir, damages["of rubbish"])
		everyKey(t, b, "in")
		app := runToEnd(t, simple(t), cfg)
		said.once(t, app, cfg, "counts")
		assert.Equal(t, dir+".corrupt.3", said.events[0].MovedTo)
	})
}

// A row that does not decode is damage of the file, whatever the policies say. What does not decode in the changelog either is the
// decode policy's: the file is restored once.
func TestDamagedFile_RowThatDoesNotDecode(t *testing.T) {
	resize := func(element []byte, n int) { binary.NativeEndian.PutUint32(element[12:], uint32(n)) }
	for name, edit := range map[string]func(element, stored []byte){
		"its length": func(element, _ []byte) { resize(element, 5) },
		"its time":   func(_, stored []byte) { stored[0] = 0x80 },
		"its value":  func(element, stored []byte) { resize(element, len(stored)-1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
				var said reports
				cfg := said.in(config(t, b))
				cfg.OnDecodeError, cfg.OnProcessError = failure.Skip(), failure.Skip()
				everyKey(t, b, "in")
				runToEnd(t, simple(t), cfg)
				editRows(t, filepath.Join(cfg.StateDir, "app", "counts", "0"), edit)
				everyKey(t, b, "in")
				app := runToEnd(t, simple(t), cfg)
				for k, n := range latest(t, b, "counts") {
					assert.EqualValues(t, 2, n, k)
				}
				said.once(t, app, cfg, "counts")
				assert.Empty(t, app.Stats().Dropped)
			})
		})
	}
}

func TestDamagedFile_RowThatDoesNotDecodeInChangelog(t *testing.T) {
	program := func(t *testing.T, direct bool) *topology.Topology {
		b := stream.NewBuilder()
		if direct {
			counted := store.NewKeyValue("counts", serde.String, serde.Int64)
			stream.To(stream.Process(stream.From(b, in), "count", func(c *stream.Context[string, int64]) (func(stream.Record[string, string]) error, error) {
				rows := counted.In(c)
				return func(r stream.Record[string, string]) error {
					n, _, err := rows.Get(r.Key)
					if err != nil {
						return err
					}
					c.Forward(stream.WithValue(r, n+1))
					return rows.Put(r.Key, n+1)
				}, nil
			}, counted), counts)
		} else {
			stream.To(table.ToStream(table.Count(stream.GroupByKey(stream.From(b, in)), "counts")), counts)
		}
		return build(t, b)
	}
	for _, direct := range []bool{false, true} {
		t.Run(fmt.Sprintf("a processor's: %v", direct), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
				var said reports
				cfg := said.in(config(t, b))
				cfg.OnDecodeError = failure.Skip()
				everyKey(t, b, "in")
				runToEnd(t, program(t, direct), cfg)
				bad := broker.Record{Partition: 0, Key: []byte("key 0004"), Value: []byte("no number")}
				require.NoError(t, b.Produce(t.Context(), "app-counts-changelog", bad))
				runToEnd(t, program(t, direct), cfg) // what was added is restored
				require.Empty(t, said.events)
				everyKey(t, b, "in")
				app := runToEnd(t, program(t, direct), cfg)
				got := latest(t, b, "counts")
				assert.EqualValues(t, 1, got["key 0004"], "its second record is skipped")
				delete(got, "key 0004")
				for k, n := range got {
					assert.EqualValues(t, 2, n, k)
				}
				said.once(t, app, cfg, "counts")
				assert.EqualValues(t, 1, app.Stats().Dropped["record does not decode"])
			})
		})
	}
}

// A global store is mended too. Tasks that look rows up in it wait meanwhile, and find what they should.
func TestDamagedFile_OfGlobalStore(t *testing.T) {
	for how, damage := range damages {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, before the start %v", how, before), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2), broker.Topic("rows", 2))
					var said reports
					cfg := said.in(config(t, b))
					dir := filepath.Join(cfg.StateDir, "app", "rows", "0")
					everyKey(t, b, "rows")
					runToEnd(t, lookedUp(t), cfg)
					if before {
						damageStore(t, dir, damage)
					}
					m := startNoSync(t, lookedUp(t), cfg)
					if !before {
						time.Sleep(time.Second)
						require.NoError(t, m.Ready())
						damageStore(t, dir, damage)
					}
					everyKey(t, b, "in")
					for _, r := range await(t, b, "out", keysOfDamage) {
						assert.Equal(t, "v+v", string(r.Value))
					}
					time.Sleep(time.Minute)
					require.NoError(t, m.Ready())
					m.stop()
					said.once(t, m.App, cfg, "rows")
				})
			})
		}
	}
}

// lookedUp joins "in" with a global table of "rows".
func lookedUp(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	rows := table.Global(b, stream.NewTopic("rows", serde.String, serde.String), "rows")
	byKey := func(r stream.Record[string, string]) (string, bool) { return r.Key, true }
	stream.To(join.StreamGlobal(stream.From(b, in), rows, byKey, func(v, row string) string { return v + "+" + row }), out)
	return build(t, b)
}
