package main

import (
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// boltTransaction is how many rows a transaction writes.
const boltTransaction = 20_000

var boltBucket = []byte("rows")

// plainBolt is a bbolt file in which rows are changed in place.
type plainBolt struct {
	db     *bbolt.DB
	tx     *bbolt.Tx
	bucket *bbolt.Bucket
	puts   int
}

func openBolt(dir string) (rowStorer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, "rows.db"), 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	p := &plainBolt{db: db}
	return p, p.begin()
}

func (p *plainBolt) begin() (err error) {
	if p.tx, err = p.db.Begin(true); err != nil {
		return err
	}
	p.bucket, err = p.tx.CreateBucketIfNotExists(boltBucket)
	return err
}

func (p *plainBolt) Get(key []byte) ([]byte, bool, error) {
	v := p.bucket.Get(key)
	return v, v != nil, nil
}

func (p *plainBolt) Put(key, value []byte) error {
	p.puts++
	// The transaction refers to the value until it ends.
	if err := p.bucket.Put(key, append([]byte(nil), value...)); err != nil || p.puts < boltTransaction {
		return err
	}
	return p.Flush()
}

// Commit does nothing: a transaction for what a tenth of a second writes would write most of its pages for one row.
func (p *plainBolt) Commit() error { return nil }

func (p *plainBolt) Flush() error {
	p.puts = 0
	return errors.Join(p.tx.Commit(), p.begin())
}

func (p *plainBolt) Scan(f func(key, value []byte) error) error { return p.bucket.ForEach(f) }

func (p *plainBolt) Close() error { return errors.Join(p.tx.Rollback(), p.db.Close()) }
