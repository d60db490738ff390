package kafka

import (
	"context"
	"errors"
	"time"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// RetryUnavailable calls f again, with growing pauses, as long as it returns ErrUnavailable and ctx
// lasts. Any other result of f is returned. Brokers that are away are no error of an App: it waits
// for them.
func RetryUnavailable(ctx context.Context, f func() error) error {
	for wait := minBackoff; ; wait = min(2*wait, maxBackoff) {
		err := f()
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		if err := Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// Sleep waits for d. It returns the cause of ctx when that ends first.
func Sleep(ctx context.Context, d time.Duration) error { return SleepOr(ctx, d, nil) }

// SleepOr is Sleep, but for that it also returns, without an error, when something can be read from
// wake. A nil channel never ends it.
func SleepOr(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Closed reports whether a channel that nobody sends on is closed.
func Closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
