package failure_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

// t stands for the *testing.T of a test, which examples do not have.
var t example

type example struct{}

func (example) Helper()                   {}
func (example) Cleanup(func())            {}
func (example) Errorf(f string, a ...any) { fmt.Printf(f+"\n", a...) }
func (example) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

var lines = stream.NewTopic("lines", serde.String, serde.String)

// numbers prints the numbers among lines; what is none goes to the policy.
func numbers(p failure.Policy) (*testdriver.Driver, testdriver.In[string, string]) {
	b := stream.NewBuilder()
	parsed := stream.TryMapValues(stream.From(b, lines), func(_ context.Context, r stream.Record[string, string]) (int, error) {
		return strconv.Atoi(r.Value)
	}).Named("parse").OnError(p)
	stream.ForEach(parsed, func(r stream.Record[string, int]) { fmt.Println(r.Key, r.Value) })
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	d := testdriver.New(t, top)
	return d, testdriver.Input(d, lines)
}

// The App stops, and its error says where.
func ExampleStop() {
	_, in := numbers(failure.Stop())
	in.Send("a", "1")
	err := in.SendErr(stream.Record[string, string]{Key: "b", Value: "two"})
	_, where, _ := strings.Cut(err.Error(), ", topic ")
	fmt.Println(where)
	// Output:
	// a 1
	// lines[0] offset 1: strconv.Atoi: parsing "two": invalid syntax
}

// The record is dropped and counted.
func ExampleSkip() {
	d, in := numbers(failure.Skip())
	in.Send("a", "1")
	in.Send("b", "two")
	in.Send("c", "3")
	fmt.Println(d.Dropped())
	// Output:
	// a 1
	// c 3
	// map[function failed:1]
}

// The record goes to a topic as it was read, with what happened in its headers.
func ExampleDeadLetter() {
	d, in := numbers(failure.DeadLetter("no-numbers"))
	in.Send("b", "two")
	letter := d.Raw("no-numbers")[0]
	message, _ := letter.Headers.Get("__streams.errors.message")
	fmt.Printf("%s=%s: %s\n", letter.Key, letter.Value, message)
	// Output: b=two: strconv.Atoi: parsing "two": invalid syntax
}

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

func ExampleStopApp() {
	fmt.Println(failure.StopApp())
	// Output: stop the App
}

func ExampleRestartTask() {
	fmt.Println(failure.RestartTask(5, 10*time.Minute).Backoff(5*time.Second, 5*time.Minute))
	// Output: restart the task 5 times within 10m0s (pauses of 5s to 5m0s), then stop the App
}

// A task that fails is restarted, unless its record is to blame.
func ExampleDecideTask() {
	p := failure.DecideTask(func(r failure.TaskReport) failure.TaskPolicy {
		if errors.Is(r.Err, errTemporary) {
			return failure.RestartTask(5, 10*time.Minute)
		}
		return failure.StopApp()
	})
	for _, err := range []error{errTemporary, errors.New("no such country")} {
		decided, _ := p.Resolve(failure.TaskReport{Task: "0_3", Err: err})
		fmt.Println(decided)
	}
	// Output:
	// restart the task 5 times within 10m0s (pauses of 1s to 1m0s), then stop the App
	// stop the App
}
