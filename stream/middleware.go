package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/topology"
)

// Middleware wraps every step of the program in m, the first outermost. A program without
// middleware pays nothing for the feature; a step with middleware costs about as much as one more
// step. topology.Around says what middleware may do.
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
		for _, function := range m {
			if function == nil {
				b.AddError("stream.Middleware", errors.New("a function is nil"))
				continue
			}
			b.Middleware = append(b.Middleware, function)
		}
	}
}
