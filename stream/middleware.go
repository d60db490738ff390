package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/topology"
)

// Middleware puts m around every step of the program, the first outermost. A program without any runs as if there were no such
// thing; a step that has some costs about as much as one step more. What it may do is said at topology.Around.
//
//	b := stream.NewBuilder(stream.Middleware(func(step topology.Node, task string) topology.Around {
//		seconds := histogram.With(step.Name)
//		return func(r topology.Passing, next func() error) error {
//			start := time.Now()
//			err := next()
//			seconds.Observe(time.Since(start).Seconds())
//			return err
//		}
//	}))
func Middleware(m ...topology.Middleware) BuilderOption {
	return func(b *plan.Builder) {
		for _, x := range m {
			if x == nil {
				b.Mistake("stream.Middleware", errors.New("a function is nil"))
				continue
			}
			b.Middleware = append(b.Middleware, x)
		}
	}
}
