package operator

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
)

// onRowError handles the error of a call that writes a row.
//
// An error of this one row (its key is too long, its value too large) belongs to the record: try
// decides, and retry repeats the call. Any other error is the store's and ends the task. wrap adds
// to an error which row it was.
func onRowError(
	try retry.Func, wrap func(what string, err error) error, what string, err error, again func() error,
) error {
	if !isRowError(err) {
		return wrap(what, err)
	}
	return try.Do(wrap(what, err), func() error {
		switch err := again(); {
		case err == nil:
			return nil
		case isRowError(err):
			return wrap(what, err)
		default:
			return retry.Fatal(wrap(what, err))
		}
	})
}

// onBufferError is onRowError for a buffer, whose errors name the row already.
func onBufferError(try retry.Func, err error, again func() error) error {
	as := func(_ string, err error) error { return err }
	return onRowError(try, as, "", err, again)
}

// isRowError reports whether an error of a store concerns a single row.
func isRowError(err error) bool {
	if _, ok := errors.AsType[*retry.RowError](err); ok {
		return true
	}
	return errors.Is(err, storage.ErrKeyTooLong) || errors.Is(err, storage.ErrValueTooLarge) ||
		errors.Is(err, storage.ErrNilKey) || errors.Is(err, storage.ErrNilValue)
}

// keyError adds to an error which row of a store it was, and what was done with it.
func keyError[B ~[]byte | ~string](store string, key B, what string, err error) error {
	return fmt.Errorf("store %q, key %s: %s: %w", store, quote.Key(key), what, err)
}
