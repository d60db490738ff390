package memtable_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

var bySeries = storage.Series{Class: 2, Tail: 12}

func seriesKey(prefix string, number uint64, last uint32) []byte {
	b := binary.BigEndian.AppendUint64(append([]byte{2}, prefix...), number)
	return binary.BigEndian.AppendUint32(b, last)
}

// seriesRange is a scan of the numbers in [from, to] of a series.
func seriesRange(prefix string, from, to uint64, backward bool) storage.Range {
	key := append([]byte{2}, prefix...)
	r := storage.Range{
		From: binary.BigEndian.AppendUint64(bytes.Clone(key), from), To: seriesKey(prefix, to, 0xffff_ffff),
		Series: len(key), Backward: backward,
	}
	return r
}

// pair is a store that finds rows by series and one that does not.
type pair [2]*memtable.Engine

func newPair() pair {
	p := pair{memtable.New(nil), memtable.New(nil)}
	p[0].IndexSeries(bySeries)
	return p
}

func (p pair) each(t *testing.T, f func(e *memtable.Engine) error) {
	for _, e := range p {
		require.NoError(t, f(e))
	}
}

// same compares what a scan visits. write is called before each row, the first included, for each of the stores.
func (p pair) same(t *testing.T, r storage.Range, write func(e *memtable.Engine, row int)) (n int) {
	var got [2][]string
	for i, e := range p {
		e.Visit(r, func(x storage.Entry, err error) bool {
			require.NoError(t, err)
			got[i] = append(got[i], fmt.Sprintf("%x=%s@%d", x.Key, x.Value, x.Time))
			if write != nil {
				write(e, len(got[i]))
			}
			return true
		})
	}
	require.Equal(t, got[1], got[0])
	return len(got[0])
}

func TestSeries_RandomHistories(t *testing.T) {
	for range 8 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			p := newPair()
			// Histories differ in how many rows a series has and how far out of order they come.
			series, disorder, now := 1+rnd.IntN(30), 1+rnd.IntN(400), uint64(1000)
			name := func() string { return fmt.Sprint("s", rnd.IntN(series)) }
			var cut []uint64
			var rows int
			for range 3000 {
				switch key := seriesKey(name(), now-min(now, uint64(rnd.IntN(disorder))), uint32(rnd.IntN(3))); rnd.IntN(20) {
				case 0:
					p.each(t, func(e *memtable.Engine) error { return e.Delete(key, int64(now)) })
				case 1:
					var epochs []uint64
					p.each(t, func(e *memtable.Engine) error {
						epoch, err := e.Cut(func(storage.Change) error { return nil })
						epochs = append(epochs, epoch)
						return err
					})
					require.Equal(t, epochs[0], epochs[1])
					cut = append(cut, epochs[0])
				case 2:
					if n := len(cut); n > 0 {
						n = 1 + rnd.IntN(n)
						p.each(t, func(e *memtable.Engine) error {
							e.Settle(cut[n-1], storage.Checkpoint{})
							return nil
						})
						cut = cut[n:]
					}
				case 3:
					if rnd.IntN(10) == 0 {
						p.each(t, func(e *memtable.Engine) error { return e.Undo() })
						cut = nil
					}
				case 4:
					if rnd.IntN(100) == 0 {
						p.each(t, func(e *memtable.Engine) error { return e.Truncate() })
						cut = nil
					}
				case 5:
					other := append([]byte{byte(rnd.IntN(2))}, key[1:1+rnd.IntN(len(key)-1)]...)
					p.each(t, func(e *memtable.Engine) error { return e.Put(other, []byte("other"), 1) })
				case 6, 7:
					from := now - min(now, uint64(rnd.IntN(2*disorder)))
					r := seriesRange(name(), from, from+uint64(rnd.IntN(disorder)), rnd.IntN(2) == 0)
					var write func(*memtable.Engine, int)
					if rnd.IntN(3) == 0 {
						again := seriesKey(name(), from+uint64(rnd.IntN(disorder)), 9)
						write = func(e *memtable.Engine, row int) {
							if row == 2 {
								require.NoError(t, e.Put(again, []byte("written"), 2))
							}
						}
					}
					rows += p.same(t, r, write)
				case 8:
					if rnd.IntN(20) == 0 {
						p.same(t, storage.Range{}, nil)
					}
				default:
					now += uint64(rnd.IntN(3))
					p.each(t, func(e *memtable.Engine) error { return e.Put(key, fmt.Append(nil, now), int64(now)) })
				}
			}
			require.Positive(t, rows)
			p.same(t, storage.Range{}, nil)
			p.each(t, func(e *memtable.Engine) error { return e.Close(false) })
		})
	}
}

// A series with more rows than are passed one by one, and rows that come before all of them.
func TestSeries_LongAndOutOfOrder(t *testing.T) {
	p := newPair()
	put := func(number uint64) {
		p.each(t, func(e *memtable.Engine) error { return e.Put(seriesKey("a", number, 0), []byte("v"), 1) })
	}
	for n := range uint64(2000) {
		put(10 + 2*n)
	}
	for _, from := range []uint64{0, 10, 1000, 3000, 4000, 5000} {
		for _, backward := range []bool{false, true} {
			p.same(t, seriesRange("a", from, from+1500, backward), nil)
		}
	}
	for _, number := range []uint64{4001, 3001, 11, 1} {
		put(number)
		require.Positive(t, p.same(t, seriesRange("a", 0, 5000, false), nil))
		require.Positive(t, p.same(t, seriesRange("a", number, number, true), nil))
	}
	p.each(t, func(e *memtable.Engine) error { return e.Close(false) })
}
