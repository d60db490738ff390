package stream

import (
	"errors"
	"fmt"
	"io"

	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
)

// Print writes a line for each record to w, as Kafka Streams' Printed does: label in brackets, key and value, null for what is absent. It is
// for looking at a stream while a program is written. Tasks write at the same time, each line in one call, so w must be safe for that,
// as os.Stdout is. An error of w goes to the step's policy.
//
//	stream.Print(orders, os.Stdout, "orders") // [orders]: o-17, {2 pears}
func Print[K, V any](s KStream[K, V], w io.Writer, label string) Step {
	n := canFail(last(s, "stream.Print", "print", fmt.Sprint, func(at site) wire.Outlet[K, V] {
		var line []byte // its memory is used again
		return func(r Record[K, V]) error {
			for attempt := 1; ; attempt++ {
				at.enter()
				line = fmt.Appendf(line[:0], "[%s]: %s, %s\n", label, present(r.Key, r.NoKey), present(r.Value, r.Tombstone))
				_, err := w.Write(line)
				if err == nil {
					return nil
				}
				if again, err := at.failed(attempt, err); !again {
					return err
				}
			}
		}
	}))
	if n != nil && w == nil {
		n.Mistake(errors.New("its writer is nil"))
	}
	return Step(plan.NewStep(n))
}

// present is the text of a key or a value.
func present(v any, absent bool) string {
	if absent {
		return "null"
	}
	return fmt.Sprint(v)
}
