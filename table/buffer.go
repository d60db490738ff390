package table

import (
	"errors"
	"fmt"
)

// Buffer limits how much a suppression holds back, and decides what happens at the limit. Make one
// with Unbounded, MaxRecords or MaxBytes.
type Buffer struct {
	isSet          bool
	records, bytes int64 // 0: no bound
	bounded        [2]bool
	stopWhenFull   bool
}

// Unbounded returns a buffer without a limit. The records are in the suppression's store; only the
// order of the keys is in memory.
func Unbounded() Buffer { return Buffer{isSet: true} }

// MaxRecords returns a buffer for at most n keys, 1 or more.
func MaxRecords(n int) Buffer { return Unbounded().Records(n) }

// MaxBytes returns a buffer for at most n bytes, 1 or more. Keys, values, old values, headers and
// topic names count, as in Kafka Streams.
func MaxBytes(n int64) Buffer { return Unbounded().Bytes(n) }

// Records returns b with a limit of n keys.
func (b Buffer) Records(n int) Buffer {
	b.isSet, b.records, b.bounded[0] = true, int64(n), true
	return b
}

// Bytes returns b with a limit of n bytes.
func (b Buffer) Bytes(n int64) Buffer {
	b.isSet, b.bytes, b.bounded[1] = true, n, true
	return b
}

// EmitEarly makes a full buffer send its oldest records before they are due. That is the default.
func (b Buffer) EmitEarly() Buffer {
	b.stopWhenFull = false
	return b
}

// StopWhenFull makes a full buffer fail the task, which stops the App, unless Config.OnTaskError restarts the task.
func (b Buffer) StopWhenFull() Buffer {
	b.stopWhenFull = true
	return b
}

// check returns what is invalid about b. untilClose is true for suppressions that must not send
// early.
func (b Buffer) check(untilClose bool) error {
	var errs []error
	switch {
	case !b.isSet:
		return errors.New("its buffer is zero; make it with table.Unbounded, table.MaxRecords or table.MaxBytes")
	case b.bounded[0] && b.records < 1:
		errs = append(errs, fmt.Errorf("its buffer is for at most %d records; it must be for 1 or more", b.records))
	case b.bounded[1] && b.bytes < 1:
		errs = append(errs, fmt.Errorf("its buffer is for at most %d bytes; it must be for 1 or more", b.bytes))
	case untilClose && !b.stopWhenFull && b.bounded != [2]bool{}:
		errs = append(errs, errors.New("its buffer would send results before they are final when it is full; give it "+
			"StopWhenFull, or use table.Unbounded"))
	}
	return errors.Join(errs...)
}
