// Package retry lets code that knows no tasks apply the failure policy of the current record: package
// operator, and what it uses. Tasks implement Func (internal/graph.Retrier).
package retry

import "errors"

// ErrSkipped replaces the error of a record that its policy has skipped, or sent to a dead-letter
// topic. The record is counted already. The step ends it without an error.
var ErrSkipped = errors.New("the record is skipped")

// Func applies the policy to err, the error of a call. As long as the policy retries, it calls again,
// which repeats the call. It returns nil once that succeeds, ErrSkipped when the policy skips the
// record, and any other error to end the task. A nil Func has no policy and returns err.
type Func func(err error, again func() error) error

// Do calls f, which may be nil.
func (f Func) Do(err error, again func() error) error {
	if f == nil {
		return err
	}
	return f(err, again)
}

// IgnoreSkipped returns nil for ErrSkipped and other errors unchanged. A step returns this for an error
// of the current record.
func IgnoreSkipped(err error) error {
	if errors.Is(err, ErrSkipped) {
		return nil
	}
	return err
}

// RowError is the error of a store that refuses one row. The store itself is not damaged, and the policy
// of the record decides.
type RowError struct{ Err error }

func (e *RowError) Error() string { return e.Err.Error() }

// Unwrap returns why the row is refused.
func (e *RowError) Unwrap() error { return e.Err }

// Fatal marks an error that is not about the record. It ends the task, and no policy is asked.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return &fatalError{err}
}

type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// Unmark returns err without the mark of Fatal, and reports whether it had the mark.
func Unmark(err error) (_ error, fatal bool) {
	if f, ok := errors.AsType[*fatalError](err); ok {
		return f.err, true
	}
	return err, false
}
