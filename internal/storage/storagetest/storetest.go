// Package storagetest is the conformance suite of engines: what every storage.Engine must do,
// checked against a model that is a map and its sorted keys. Random histories print their seed;
// -seed repeats one.
package storagetest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run one random history, with this seed")
	histFlag = flag.Int("histories", 30, "random histories to run")
)

// Store is how the suite makes the engine under test.
type Store struct {
	// Open returns an empty engine.
	Open func(t testing.TB) storage.Engine
	// Reopen returns an engine on what a closed one left behind; nil when an engine leaves nothing.
	Reopen func(t testing.TB) storage.Engine
	// Steps is the length of a random history. Defaults to 3,000.
	Steps int
	// Histories is the most random histories to run, when one takes long. Defaults to those of the flag.
	Histories int
	// Large makes some values of random histories hundreds of kilobytes long.
	Large bool
}

// Run runs the whole suite.
func Run(t *testing.T, fresh func(t testing.TB) Store) {
	for name, test := range cases {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
	t.Run("random histories", func(t *testing.T) { Histories(t, fresh) })
}

// Histories runs random histories: -histories of them, or the one of -seed.
func Histories(t *testing.T, fresh func(t testing.TB) Store) {
	seeds := []uint64{*seedFlag}
	if *seedFlag == 0 {
		n := *histFlag
		if most := fresh(t).Histories; most > 0 {
			n = min(n, most)
		}
		if testing.Short() {
			n = min(n, 8)
		}
		seeds = seeds[:0]
		for range n {
			seeds = append(seeds, rand.Uint64()|1)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			h := newHistory(t, fresh(t), seed)
			defer h.close()
			h.run()
			newExpiry(t, fresh(t), seed).run()
		})
	}
}

// Checkpoint returns the checkpoint that the suite uses for an offset.
func Checkpoint(offset int64) storage.Checkpoint {
	at := time.UnixMilli(1_700_000_000_000 + offset).UTC()
	return storage.Checkpoint{TopicID: [16]byte{1, 2, 3}, Offset: offset, Time: at}
}

// Rows returns all rows that a scan of r visits, as strings.
func Rows(t testing.TB, s storage.Bytes, r storage.Range) []Row {
	t.Helper()
	rows := []Row{}
	for e, err := range s.Scan(r) {
		require.NoError(t, err)
		rows = append(rows, Row{string(e.Key), string(e.Value), e.Time})
	}
	return rows
}

// Row is a copy of an entry.
type Row struct {
	Key, Value string
	Time       int64
}
