package failure_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/failure"
)

func ExampleRetry() {
	p := failure.Retry(5, 100*time.Millisecond, 10*time.Second, failure.DeadLetter("geo-dlq"))
	fmt.Println(p)
	// Output: retry 5 times (100ms to 10s), then dead letter to "geo-dlq"
}

var errTemporary = errors.New("temporary")

func ExampleDecide() {
	p := failure.Decide(func(_ context.Context, r failure.Report) failure.Policy {
		if errors.Is(r.Err, errTemporary) && r.Attempt < 3 {
			return failure.Retry(1, time.Second, time.Second, failure.Stop())
		}
		return failure.Skip()
	})
	for attempt := 1; attempt <= 3; attempt++ {
		r := failure.Report{Step: "geocode", Attempt: attempt, Err: errTemporary}
		fmt.Println(p.Action(context.Background(), r, failure.Stop()).Verb)
	}
	// Output:
	// retry
	// retry
	// skip
}

func ExampleDrop() {
	country := func(code string) (string, error) {
		if code == "" {
			return "", failure.Drop("no country")
		}
		return code, nil
	}
	_, err := country("")
	fmt.Println(failure.DropReason(err))
	// Output: no country true
}
