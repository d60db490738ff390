package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// TryOption configures the steps whose functions can fail: those with Try in their names.
type TryOption func(*callOptions)

// Timeout limits each call of the function: its context is canceled after d, which the function
// must respect. Without a timeout the context is canceled only when the App aborts.
func Timeout(d time.Duration) TryOption {
	return func(options *callOptions) {
		if d <= 0 {
			options.err = errors.Join(options.err, fmt.Errorf("stream.Timeout: %v, want more than 0", d))
		}
		options.timeout = d
	}
}

// callOptions is how a function that can fail is called.
type callOptions struct {
	timeout  time.Duration
	inFlight int // calls at once; 0: one after the other, on the task's goroutine
	err      error
}

func readCallOptions(opts []TryOption) *callOptions {
	read := &callOptions{}
	for _, opt := range opts {
		if opt == nil {
			read.err = errors.Join(read.err, errors.New("an option is nil"))
			continue
		}
		opt(read)
	}
	return read
}

// applyTo reports invalid options at a step's node, and marks the node as one that can fail.
func (t *callOptions) applyTo(n *plan.Node) *plan.Node {
	n.AddError(t.err)
	return canFail(n)
}

// attempt returns the function that calls f once for a record.
func attempt[K, V, R any](
	site wire.Site, options *callOptions, f func(context.Context, Record[K, V]) (R, error),
) func(Record[K, V]) (R, error) {
	return func(r Record[K, V]) (R, error) {
		site.Resume()
		return callWithTimeout(site.Env.Context(), options.timeout, f, r)
	}
}

func callWithTimeout[K, V, R any](
	ctx context.Context, timeout time.Duration, f func(context.Context, Record[K, V]) (R, error), r Record[K, V],
) (R, error) {
	if timeout <= 0 {
		return f(ctx, r)
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := f(bounded, r)
	// The function may return any error when its context ends. Say that the timeout was the cause, but
	// not when the App is aborting, which ends both contexts.
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		err = fmt.Errorf("after its timeout of %v: %w", timeout, err)
	}
	return v, err
}
