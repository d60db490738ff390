package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble in two ways. It has no log of its own, as ours has none: Kafka has what is lost. Its memtable and its cache of blocks are
// together a little more than our budget.

const (
	pebbleMemtable = 32 << 20
	pebbleCache    = 64 << 20
	pebbleBatch    = 1000    // rows in a batch
	pebbleFront    = 400_000 // rows in memory before they are ingested
)

// pebbleLog is silent but for errors.
type pebbleLog struct{}

func (pebbleLog) Infof(string, ...any) {}
func (pebbleLog) Errorf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "pebble: "+format+"\n", args...)
}
func (pebbleLog) Fatalf(format string, args ...any) { panic(fmt.Sprintf("pebble: "+format, args...)) }

func pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		DisableWAL: true, MemTableSize: pebbleMemtable, CacheSize: pebbleCache, Logger: pebbleLog{},
		FormatMajorVersion: pebble.FormatNewest,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	return o
}

// pebbleBatches writes in batches, and looks rows up through the one that is not committed.
type pebbleBatches struct {
	db    *pebble.DB
	batch *pebble.Batch
	close func() error // of the row that was read last
}

func openPebbleBatches(dir string) (rowStorer, error) {
	db, err := pebble.Open(filepath.Join(dir, "pebble"), pebbleOptions())
	if err != nil {
		return nil, err
	}
	return &pebbleBatches{db: db, batch: db.NewIndexedBatch(), close: nothing}, nil
}

func nothing() error { return nil }

func (p *pebbleBatches) Get(key []byte) ([]byte, bool, error) {
	if err := p.release(); err != nil {
		return nil, false, err
	}
	v, closer, err := p.batch.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err == nil {
		p.close = closer.Close
	}
	return v, err == nil, err
}

func (p *pebbleBatches) release() error {
	err := p.close()
	p.close = nothing
	return err
}

func (p *pebbleBatches) Put(key, value []byte) error {
	if err := p.batch.Set(key, value, nil); err != nil || p.batch.Count() < pebbleBatch {
		return err
	}
	return p.Commit()
}

func (p *pebbleBatches) Commit() error {
	if err := p.release(); err != nil || p.batch.Empty() {
		return err
	}
	if err := p.db.Apply(p.batch, pebble.NoSync); err != nil {
		return err
	}
	p.batch.Reset()
	return nil
}

func (p *pebbleBatches) Flush() error { return p.db.Flush() }

func (p *pebbleBatches) Scan(f func(key, value []byte) error) error { return scanPebble(p.db, f) }

func (p *pebbleBatches) Close() error { return errors.Join(p.release(), p.batch.Close(), p.db.Close()) }

func scanPebble(db *pebble.DB, f func(key, value []byte) error) error {
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// pebbleIngest keeps rows in a map, of which it makes sorted tables.
type pebbleIngest struct {
	db     *pebble.DB
	dir    string
	front  map[[8]byte]int // where the row's value is in values
	values []byte
	close  func() error
	tables int
}

func openPebbleIngest(dir string) (rowStorer, error) {
	db, err := pebble.Open(filepath.Join(dir, "pebble"), pebbleOptions())
	if err != nil {
		return nil, err
	}
	return &pebbleIngest{db: db, dir: dir, front: map[[8]byte]int{}, values: make([]byte, 0, pebbleFront*valueSize), close: nothing}, nil
}

func (p *pebbleIngest) Get(key []byte) ([]byte, bool, error) {
	if err := p.release(); err != nil {
		return nil, false, err
	}
	if at, ok := p.front[[8]byte(key)]; ok {
		return p.values[at : at+valueSize], true, nil
	}
	v, closer, err := p.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err == nil {
		p.close = closer.Close
	}
	return v, err == nil, err
}

func (p *pebbleIngest) release() error {
	err := p.close()
	p.close = nothing
	return err
}

func (p *pebbleIngest) Put(key, value []byte) error {
	if at, ok := p.front[[8]byte(key)]; ok {
		copy(p.values[at:at+valueSize], value)
		return nil
	}
	p.front[[8]byte(key)] = len(p.values)
	p.values = append(p.values, value...)
	if len(p.front) < pebbleFront {
		return nil
	}
	return p.Flush()
}

func (p *pebbleIngest) Commit() error { return nil }

func (p *pebbleIngest) Flush() error {
	if err := p.release(); err != nil || len(p.front) == 0 {
		return err
	}
	keys := make([][8]byte, 0, len(p.front))
	for k := range p.front {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y [8]byte) int { return slices.Compare(x[:], y[:]) })
	p.tables++
	path := filepath.Join(p.dir, fmt.Sprintf("ingested-%d.sst", p.tables))
	f, err := vfs.Default.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	o := pebbleOptions()
	o.EnsureDefaults()
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), o.MakeWriterOptions(0, p.db.TableFormat()))
	for _, k := range keys {
		at := p.front[k]
		if err := w.Set(k[:], p.values[at:at+valueSize]); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	clear(p.front)
	p.values = p.values[:0]
	return p.db.Ingest(context.Background(), []string{path})
}

func (p *pebbleIngest) Scan(f func(key, value []byte) error) error { return scanPebble(p.db, f) }

func (p *pebbleIngest) Close() error { return errors.Join(p.release(), p.db.Close()) }
