package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millstream-go/millstream/internal/storage"
)

func TestUnmix_IsTheInverse(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 10_000 {
		if n := r.Uint64(); unmix(mix(n)) != n {
			t.Fatalf("seed %d: unmix(mix(%d)) is %d", seed, n, unmix(mix(n)))
		}
	}
}

// limit is how long a phase may take, on a machine that may be busy: one that ends there has done less than was asked.
const limit = 10 * time.Minute

// Each engine has to hold what it was given: the run verifies its rows.
func TestStores_AllEngines(t *testing.T) {
	for _, e := range engines {
		t.Run(e.who, func(t *testing.T) {
			var phases []string
			s := spec{Engine: e.who, Rows: 3000, Records: 50_000, Limit: limit.Milliseconds(), StateDir: t.TempDir()}
			err := s.runStore(func(r result) error { phases = append(phases, r.Phase); return nil })
			if err != nil || len(phases) != len(storePhases) {
				t.Fatalf("phases %v: %v", phases, err)
			}
		})
	}
}

// forgetful is a store that does not keep a write.
type forgetful struct {
	rowStorer
	puts, lost int
}

func (f *forgetful) Put(key, value []byte) error {
	if f.puts++; f.puts == f.lost {
		return nil
	}
	return f.rowStorer.Put(key, value)
}

// A figure of an engine that has lost a row or a change must not be printed.
func TestStores_LossIsFound(t *testing.T) {
	for _, lost := range []int{1, 2500, 2501, 30_000} {
		rows, err := openOurs(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s := spec{Rows: 2500, Records: 20_000, Limit: limit.Milliseconds(), StateDir: t.TempDir()}
		if err := newStoreRun(s, &forgetful{rowStorer: rows, lost: lost}, func(result) error { return nil }).run(); err == nil {
			t.Errorf("write %d was lost, and nobody noticed", lost)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChart_IsXML(t *testing.T) {
	var all []figures
	for _, rows := range []int64{1000, 1_000_000, 100_000_000} {
		for i, who := range []string{whoApp, whoStreams} {
			all = append(all, figures{Workload: "count", Rows: rows, Who: who, Result: result{CPU: float64(i) + 0.5}})
		}
	}
	for _, some := range [][]figures{all, all[:1], nil} {
		d := xml.NewDecoder(bytes.NewReader(chart(some)))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What a program did that has lost a row of its table, or has changed one, must not be printed either.
func TestVerifyRows(t *testing.T) {
	for name, c := range map[string]struct {
		rows    int64
		changed int64
		ok      bool
	}{
		"all":          {rows: 10, changed: -1, ok: true},
		"one is lost":  {rows: 9, changed: -1},
		"one is other": {rows: 10, changed: 3},
	} {
		d := done{spec: spec{Rows: 10}, stored: storedRows(c.rows, c.changed)}
		if err := verifyRows(context.Background(), d); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// storedRows has n rows of the table, of which one has the value of another.
func storedRows(n, changed int64) func(string, func(storage.Entry) error) (int64, error) {
	return func(_ string, f func(storage.Entry) error) (int64, error) {
		for k := range n {
			v := k
			if k == changed {
				v++
			}
			if err := f(storage.Entry{Key: appendKey(nil, k), Value: appendValue(nil, v)}); err != nil {
				return k, err
			}
		}
		return n, nil
	}
}
