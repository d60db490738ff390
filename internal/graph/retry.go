package graph

import "context"

// Failed hands the error of a user's function at n to the policy; attempt counts its calls for one record, from 1. again says to call
// it once more. Otherwise the record ends here: dropped, or with the task when fatal is not nil. Functions that can fail are called as
//
//	for attempt := 1; ; attempt++ {
//		err := f(env.Context(), r)
//		if err == nil {
//			return out(r)
//		}
//		if again, err := graph.Failed(env, n, attempt, err); !again {
//			return err
//		}
//	}
//
// A task that is being closed in haste asks no policy: that the function gave up then says nothing about the record.
func Failed(env Env, n *Node, attempt int, err error) (again bool, fatal error) {
	if env.Context().Err() != nil {
		return false, context.Cause(env.Context())
	}
	v, fatal := env.Fail(n, Failure{Phase: Run, Err: err, Attempt: attempt})
	return fatal == nil && v == Again, fatal
}
