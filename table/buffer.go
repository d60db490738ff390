package table

import (
	"errors"
	"fmt"
)

// Buffer says how much a suppression holds back, and what happens when that is reached. Make it with Unbounded, MaxRecords or MaxBytes.
type Buffer struct {
	made           bool
	records, bytes int64 // 0: no bound
	bounds         [2]bool
	stop           bool
}

// Unbounded returns a buffer that holds back whatever it has to. What it holds lies in its store; the order of the keys is kept in memory.
func Unbounded() Buffer { return Buffer{made: true} }

// MaxRecords returns a buffer for at most n keys, 1 or more.
func MaxRecords(n int) Buffer { return Unbounded().Records(n) }

// MaxBytes returns a buffer for at most n bytes, 1 or more: of keys, values, old values, headers and topics' names, counted as Kafka Streams
// counts them.
func MaxBytes(n int64) Buffer { return Unbounded().Bytes(n) }

// Records returns b with a bound of n keys.
func (b Buffer) Records(n int) Buffer {
	b.made, b.records, b.bounds[0] = true, int64(n), true
	return b
}

// Bytes returns b with a bound of n bytes.
func (b Buffer) Bytes(n int64) Buffer {
	b.made, b.bytes, b.bounds[1] = true, n, true
	return b
}

// EmitEarly returns b sending the oldest entries before they are due when it is full. That is the default.
func (b Buffer) EmitEarly() Buffer {
	b.stop = false
	return b
}

// StopWhenFull returns b ending the task, and with it the App, when it is full.
func (b Buffer) StopWhenFull() Buffer {
	b.stop = true
	return b
}

// check says what is wrong with b; final is for suppressions that must not send early.
func (b Buffer) check(final bool) error {
	var errs []error
	switch {
	case !b.made:
		return errors.New("its buffer is zero; make it with table.Unbounded, table.MaxRecords or table.MaxBytes")
	case b.bounds[0] && b.records < 1:
		errs = append(errs, fmt.Errorf("its buffer is for at most %d records; it must be for 1 or more", b.records))
	case b.bounds[1] && b.bytes < 1:
		errs = append(errs, fmt.Errorf("its buffer is for at most %d bytes; it must be for 1 or more", b.bytes))
	case final && !b.stop && b.bounds != [2]bool{}:
		errs = append(errs, errors.New("its buffer would send results before they are final when it is full; give it StopWhenFull, or use table.Unbounded"))
	}
	return errors.Join(errs...)
}
