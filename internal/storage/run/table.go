package run

import (
	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// Table is a memtable as an input of a merge. Nobody writes to it meanwhile.
type Table struct{ *memtable.Walk }

// NewTable returns the rows of a memtable; with settled, those of epochs that have settled.
func NewTable(t *memtable.Table, settled bool) *Table { return &Table{t.Walk(settled)} }

// Err implements Input.
func (t *Table) Err() error { return nil }

// Fault implements Input.
func (t *Table) Fault(any, uintptr) error { return nil }

// Disordered implements Input. No file can have caused it.
func (t *Table) Disordered(reason error) error {
	invariant.Fail("a memtable: %v", reason)
	return reason
}
