package graph

import "github.com/millstream-go/millstream/internal/retry"

// Try calls f(arg), which belongs to step n, and repeats it as long as n's policy asks for it. ok
// false: the record ends at n. It was counted, or the task ends with it if fatal is not nil. f
// marks an error that is not the record's with retry.Fatal.
//
// The loop is here and nowhere else: a step that asked the policy itself could forget to repeat the
// call. f is made once per task, since a closure over a record would be an allocation per record.
func Try[A, R any](env Env, n *Node, phase Phase, f func(A) (R, error), arg A) (r R, ok bool, fatal error) {
	r, err := f(arg)
	if err == nil {
		return r, true, nil
	}
	return retryAction(env, n, Failure{Phase: phase, Err: err}, f, arg)
}

// retryAction has the closure in a function of its own: Try would allocate its captured variables
// for each record, even without a failure.
func retryAction[A, R any](env Env, n *Node, cause Failure, f func(A) (R, error), arg A) (r R, ok bool, fatal error) {
	ok, fatal = env.HandleFailure(n, cause, func() (err error) {
		r, err = f(arg)
		return err
	})
	return r, ok, fatal
}

// Do is Try for a function without a result. nil: it has succeeded, or the record ends at n.
func Do[A any](env Env, n *Node, phase Phase, f func(A) error, arg A) error {
	err := f(arg)
	if err == nil {
		return nil
	}
	return retryDo(env, n, Failure{Phase: phase, Err: err}, f, arg)
}

func retryDo[A any](env Env, n *Node, cause Failure, f func(A) error, arg A) error {
	_, fatal := env.HandleFailure(n, cause, func() error { return f(arg) })
	return fatal
}

// Retrier returns a function that asks the policy of step node, for the operators of package operator.
// Where node is nil, it asks the policy of the step at work, which reads the rows of another one.
// topic is what could not be written, for Producing.
func Retrier(env Env, node *Node, phase Phase, topic string) retry.Func {
	current := CurrentStepOf(env)
	return func(err error, again func() error) error {
		at := node
		if at == nil {
			at = current.Node
		}
		ok, fatal := env.HandleFailure(at, Failure{Phase: phase, Err: err, Topic: topic}, again)
		switch {
		case fatal != nil:
			return fatal
		case !ok:
			return retry.ErrSkipped
		}
		return nil
	}
}
