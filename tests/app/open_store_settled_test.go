package app_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// keeping is a program whose step keeps values by key, in memory or on disk, and calls onRecord before
// it does.
func keeping(t *testing.T, onRecord func(value string), opts ...store.Option) (*topology.Topology, store.KeyValueRef[string, string]) {
	kept := store.NewKeyValue("kept", serde.String, serde.String, opts...)
	b := stream.NewBuilder()
	stream.To(stream.Process(stream.From(b, in), "keep", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		rows := kept.In(c)
		return func(r stream.Record[string, string]) error {
			if err := rows.Put(r.Key, r.Value); err != nil {
				return err
			}
			onRecord(r.Value)
			c.Forward(r)
			return nil
		}, nil
	}, kept), stream.NewTopic("out", serde.String, serde.String))
	return build(t, b), kept
}

func kinds(t *testing.T, f func(t *testing.T, opts ...store.Option)) {
	for name, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, opts...) }) })
	}
}

// A worker that is in a user's function, and stays there, keeps nobody from reading its stores. What it
// has written and not committed is not seen.
func TestOpenStore_DoesNotWaitForAFunction(t *testing.T) {
	kinds(t, func(t *testing.T, opts ...store.Option) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		goOn := make(chan struct{})
		top, ref := keeping(t, func(value string) {
			if value == "stay" {
				<-goOn
			}
		}, opts...)
		cfg := config(t, b)
		cfg.Workers = 1
		m := start(t, top, cfg)
		write(t, b, "in", 0, 100)
		await(t, b, "out", 100)
		// The function is called between the write of its record and the commit, so nothing depends on how records come in batches.
		for i, key := range []string{"k7", "new"} {
			settled()
			rows := ref.In(m)
			old, existed, err := rows.Get(key)
			require.NoError(t, err)
			require.Equal(t, key == "k7", existed)
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte(key), Value: []byte("stay")}))
			synctest.Wait()
			time.Sleep(time.Millisecond)
			before := time.Now()
			for range 3 {
				v, ok, err := rows.Get(key)
				require.NoError(t, err)
				assert.Equal(t, existed, ok)
				assert.Equal(t, old, v)
				n := 0
				for row, err := range rows.All() {
					require.NoError(t, err)
					if row.Key == key {
						require.Equal(t, old, row.Value)
					}
					n++
				}
				assert.Equal(t, 100, n)
				n64, err := rows.Len()
				require.NoError(t, err)
				assert.EqualValues(t, 100, n64)
			}
			assert.Zero(t, time.Since(before), "the clock of the bubble stands still while somebody runs")
			goOn <- struct{}{}
			await(t, b, "out", 101+i)
			settled()
			v, _, err := rows.Get(key)
			require.NoError(t, err)
			assert.Equal(t, "stay", v)
		}
		m.stop()
	})
}

var accounts = store.NewKeyValue("accounts", serde.String, serde.Int64)

// transferring moves 1 from an account to another for each record, which says which they are.
func transferring(t *testing.T, ref store.KeyValueRef[string, int64]) *topology.Topology {
	b := stream.NewBuilder()
	stream.To(stream.Process(stream.From(b, in), "move", func(c *stream.Context[string, int64]) (func(stream.Record[string, string]) error, error) {
		rows := ref.In(c)
		add := func(key string, n int64) error {
			v, _, err := rows.Get(key)
			if err == nil {
				err = rows.Put(key, v+n)
			}
			return err
		}
		return func(r stream.Record[string, string]) error {
			var from, to int
			if _, err := fmt.Sscan(r.Value, &from, &to); err != nil {
				return err
			}
			if err := errors.Join(add(fmt.Sprintf("account %03d", from), -1), add(fmt.Sprintf("account %03d", to), 1)); err != nil {
				return err
			}
			c.Forward(stream.WithValue(r, int64(0)))
			return nil
		}, nil
	}, ref), counts)
	return build(t, b)
}

// Readers scan while a worker writes: a record takes from one account what it gives to another, so the
// sum is 0 in each settled version, and in no other way can a scan of hundreds of rows find it.
func TestOpenStore_AScanIsOneSettledVersion(t *testing.T) {
	for name, ref := range map[string]store.KeyValueRef[string, int64]{
		"on disk": accounts, "in memory": store.NewKeyValue("accounts", serde.String, serde.Int64, store.InMemory()),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
				cfg := config(t, b)
				cfg.CommitInterval = 5 * time.Millisecond
				cfg.MemoryBudget = 1 << 20
				m := start(t, transferring(t, ref), cfg)
				sent := 0
				send := func(n int) {
					var rs []broker.Record
					for range n {
						rs = append(rs, broker.Record{Key: []byte("k"), Value: fmt.Append(nil, sent*7%300, " ", sent*11%300)})
						sent++
					}
					require.NoError(t, b.Produce(t.Context(), "in", rs...))
				}
				send(600)
				await(t, b, "counts", sent)
				settled()
				var stop atomic.Bool
				var scans, changed atomic.Int64
				var readers sync.WaitGroup
				for reader := range 3 {
					readers.Go(func() {
						last := map[string]int64{}
						for !stop.Load() {
							sum, rows := int64(0), map[string]int64{}
							for row, err := range ref.In(m).All() {
								if !assert.NoError(t, err) {
									return
								}
								sum += row.Value
								rows[row.Key] = row.Value
								if reader == 0 && len(rows)%40 == 0 {
									time.Sleep(3 * time.Millisecond) // commits happen in the middle of a scan
								}
							}
							if !assert.Zero(t, sum) || !assert.Len(t, rows, 300) {
								return
							}
							scans.Add(1)
							if fmt.Sprint(last) != fmt.Sprint(rows) {
								changed.Add(1)
							}
							last = rows
							time.Sleep(time.Millisecond)
						}
					})
				}
				for range 40 {
					send(50)
					time.Sleep(10 * time.Millisecond)
				}
				await(t, b, "counts", sent)
				stop.Store(true)
				readers.Wait()
				assert.Greater(t, scans.Load(), int64(20))
				assert.Greater(t, changed.Load(), int64(10))
				m.stop()
			})
		})
	}
}

// Tasks move between members and close while others read: a read gets a right answer, nothing, or is
// told that a partition has left meanwhile, or that the App does not run.
func TestOpenStore_WhileTasksMoveAndClose(t *testing.T) {
	kinds(t, func(t *testing.T, opts ...store.Option) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 6), broker.Topic("out", 6))
		top, ref := keeping(t, func(string) {}, opts...)
		const n = 1200
		write(t, b, "in", 0, n)
		var readers sync.WaitGroup
		var whole, found atomic.Int64
		read := func(m *member, stop *atomic.Bool) {
			rows := ref.In(m)
			for i := 0; !stop.Load(); i++ {
				time.Sleep(40 * time.Millisecond)
				key := i * 7 % n
				v, ok, err := rows.Get(fmt.Sprint("k", key))
				if ok {
					found.Add(1)
					assert.Equal(t, fmt.Sprint("v", key), v)
				}
				seen := []string{}
				if err == nil {
					for row, failed := range rows.All() {
						if err = failed; err != nil {
							break
						}
						assert.Equal(t, "v"+row.Key[1:], row.Value)
						if seen = append(seen, row.Key); len(seen)%100 == 0 {
							time.Sleep(time.Millisecond)
						}
					}
				}
				assert.True(t, slices.IsSorted(seen))
				if len(seen) == n {
					whole.Add(1)
				}
				if err != nil && !errors.Is(err, millstream.ErrPartitionLeft) && !assert.ErrorIs(t, err, millstream.ErrNotRunning) {
					return
				}
			}
		}
		cfg := config(t, b)
		var stop atomic.Bool
		first := start(t, top, cfg)
		for range 2 {
			readers.Go(func() { read(first, &stop) })
		}
		await(t, b, "out", n)
		settled()
		for range 3 {
			other := cfg
			other.StateDir = t.TempDir()
			second := start(t, top, other)
			readers.Go(func() { read(second, &stop) })
			time.Sleep(20 * time.Second)
			second.stop()
			time.Sleep(5 * time.Second)
		}
		rows := 0
		for _, err := range ref.In(first).All() {
			require.NoError(t, err)
			rows++
		}
		assert.Equal(t, n, rows, "all tasks are back")
		first.stop()
		stop.Store(true)
		readers.Wait()
		assert.Positive(t, whole.Load())
		assert.Positive(t, found.Load())
	})
}
