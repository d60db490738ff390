package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
)

// order checks that the records of each partition come in the order in which they were loaded: none twice, none late.
type order [partitions]int64

func newOrder() (o order) {
	for i := range o {
		o[i] = -1
	}
	return o
}

func (o *order) see(p int32, n int64) error {
	if n <= o[p] {
		return fmt.Errorf("partition %d: record %d after %d", p, n, o[p])
	}
	o[p] = n
	return nil
}

// verifyPass checks that each record of the input is in the output once, in order, as it was.
func (b *bench) verifyPass(ctx context.Context) error {
	seen, o := int64(0), newOrder()
	var want []byte
	err := b.read(ctx, passedTopic, func(r *kgo.Record) error {
		n := number(r.Value)
		if want = appendValue(want[:0], n); !bytes.Equal(want, r.Value) || number(r.Key) != keyOf(n, b.keys) {
			return fmt.Errorf("record %d has changed", n)
		}
		seen++
		return o.see(r.Partition, n)
	})
	return expect(err, passedTopic, seen, b.records)
}

// verifyCount checks that every update of every count came out, in order, and that the stores have the last ones.
func (b *bench) verifyCount(ctx context.Context, stateDir string) error {
	counts, updates := make([]int64, b.keys), int64(0)
	err := b.read(ctx, countsTopic, func(r *kgo.Record) error {
		k, n := number(r.Key), number(r.Value)
		if n != counts[k]+1 {
			return fmt.Errorf("count %d of key %d after %d", n, k, counts[k])
		}
		counts[k]++
		updates++
		return nil
	})
	if err := expect(err, countsTopic, updates, b.records); err != nil {
		return err
	}
	want := make([]int64, b.keys)
	for n := range b.records {
		want[keyOf(n, b.keys)]++
	}
	distinct := int64(0)
	for k := range want {
		if want[k] != counts[k] {
			return fmt.Errorf("the last count of key %d is %d, not %d", k, counts[k], want[k])
		}
		if want[k] > 0 {
			distinct++
		}
	}
	rows, err := stored(stateDir, "bench-count", countStore, func(e store.Entry) error {
		if k := number(e.Key); number(e.Value) != want[k] {
			return fmt.Errorf("the store has count %d for key %d, not %d", number(e.Value), k, want[k])
		}
		return nil
	})
	return expect(err, countStore, rows, distinct)
}

// verifyJoin checks that each record came out once, in order, with its row.
func (b *bench) verifyJoin(ctx context.Context) error {
	seen, o := int64(0), newOrder()
	var want []byte
	err := b.read(ctx, joinedTopic, func(r *kgo.Record) error {
		n := number(r.Value)
		want = appendValue(want[:0], n)
		want = appendKey(want[:valueSize-8], keyOf(n, b.keys)) // a row begins with its key
		if !bytes.Equal(want, r.Value) {
			return fmt.Errorf("record %d is not joined with its row", n)
		}
		seen++
		return o.see(r.Partition, n)
	})
	return expect(err, joinedTopic, seen, b.records)
}

// verifyRows checks that the stores hold the table.
func (b *bench) verifyRows(stateDir string) error {
	var want []byte
	rows, err := stored(stateDir, "bench-join", rowStore, func(e store.Entry) error {
		if want = appendValue(want[:0], number(e.Key)); !bytes.Equal(want, e.Value) {
			return fmt.Errorf("row %d is not as it was loaded", number(e.Key))
		}
		return nil
	})
	return expect(err, rowStore, rows, b.keys)
}

// stored calls f with the rows of a store's files, all partitions, and counts them.
func stored(stateDir, app, name string, f func(store.Entry) error) (rows int64, err error) {
	for p := range partitions {
		e, info, err := bolt.Open(bolt.Options{Path: filepath.Join(stateDir, app, name, fmt.Sprintf("%d.db", p))})
		if err != nil || info.Aside != "" {
			return rows, fmt.Errorf("open partition %d: %s %w", p, info.Reason, err)
		}
		for entry, err := range e.Scan(store.Range{}) {
			if err == nil {
				err = f(entry)
			}
			if err != nil {
				e.Close(false)
				return rows, err
			}
			rows++
		}
		if err := e.Close(false); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func expect(err error, what string, got, want int64) error {
	if err == nil && got != want {
		err = fmt.Errorf("%d records, not %d", got, want)
	}
	if err != nil {
		return fmt.Errorf("verify %q: %w", what, err)
	}
	return nil
}
