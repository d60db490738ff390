package stream

import (
	"fmt"
	"io"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// Print writes a line for each record to w, in the format of Kafka Streams' Printed: the label in
// brackets, key and value, null for what is absent. It is for development. Tasks write
// concurrently, each line in one call, so w must be safe for that; os.Stdout is. An error of w goes
// to the step's policy.
//
//	stream.Print(orders, os.Stdout, "orders") // [orders]: o-17, {2 pears}
func Print[K, V any](s KStream[K, V], w io.Writer, label string) Step {
	node := canFail(terminal(s, "stream.Print", "print", nil, func(site wire.Site) wire.Outlet[K, V] {
		var line []byte // its memory is used again
		return retryInlet(site, func(r Record[K, V]) error {
			site.Resume()
			line = fmt.Appendf(line[:0], "[%s]: %s, %s\n", label, present(r.Key, r.NoKey), present(r.Value, r.Tombstone))
			_, err := w.Write(line)
			return err
		})
	}))
	if w == nil {
		node.Errorf("its writer is nil")
	}
	return Step(plan.NewStep(node))
}

// present is the text of a key or a value.
func present(v any, absent bool) string {
	if absent {
		return "null"
	}
	return fmt.Sprint(v)
}
