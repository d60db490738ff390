package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
)

// TryOption configures the steps whose functions can fail: those with Try in their names.
type TryOption func(*tries)

// Timeout bounds each call of the function: its context ends after d. The function has to heed it. Without it the context ends only
// when the App stops in haste.
func Timeout(d time.Duration) TryOption {
	return func(t *tries) {
		if d <= 0 {
			t.err = errors.Join(t.err, fmt.Errorf("stream.Timeout: %v, want more than 0", d))
		}
		t.timeout = d
	}
}

// tries is how a function that can fail is called.
type tries struct {
	timeout  time.Duration
	inFlight int // calls at once; 0: one after the other, on the task's goroutine
	err      error
}

func readTries(opts []TryOption) *tries {
	t := &tries{}
	for _, o := range opts {
		if o == nil {
			t.err = errors.Join(t.err, errors.New("an option is nil"))
			continue
		}
		o(t)
	}
	return t
}

// node says of a step's node that its function is called so.
func (t *tries) node(n *plan.Node) *plan.Node {
	n.Mistake(t.err)
	return canFail(n)
}

// failed hands an error of the step's function to its policy.
func (s site) failed(attempt int, err error) (again bool, fatal error) {
	return graph.Failed(s.env, s.node, attempt, err)
}

// try calls f for a record until it succeeds or the policy says otherwise. ok false ends the record here, and the task, too, when
// fatal is not nil.
func try[K, V, R any](at site, t *tries, f func(context.Context, Record[K, V]) (R, error), r Record[K, V]) (v R, ok bool, fatal error) {
	for attempt := 1; ; attempt++ {
		at.enter()
		v, err := call(at.env.Context(), t.timeout, f, r)
		if err == nil {
			return v, true, nil
		}
		if again, fatal := at.failed(attempt, err); !again {
			return v, false, fatal
		}
	}
}

func call[K, V, R any](ctx context.Context, timeout time.Duration, f func(context.Context, Record[K, V]) (R, error), r Record[K, V]) (R, error) {
	if timeout <= 0 {
		return f(ctx, r)
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := f(bounded, r)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		err = fmt.Errorf("after its timeout of %v: %w", timeout, err)
	}
	return v, err
}
