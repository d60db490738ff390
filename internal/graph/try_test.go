package graph_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
)

// env is the part of a task's environment that deals with failures: it calls again so many times,
// and then ends the record, or the task.
type env struct {
	graph.Env
	retries  int
	fatal    error
	failures []graph.Failure
}

func (e *env) HandleFailure(_ *graph.Node, f graph.Failure, again func() error) (bool, error) {
	e.failures = append(e.failures, f)
	for range e.retries {
		if again() == nil {
			return true, nil
		}
	}
	return false, e.fatal
}

var errBad = errors.New("bad")

// failing returns a function that fails so many times.
func failing(times int) func(string) (string, error) {
	return func(s string) (string, error) {
		if times--; times >= 0 {
			return "", errBad
		}
		return s + "!", nil
	}
}

func TestTry_RetriesAsLongAsThePolicySays(t *testing.T) {
	e := &env{retries: 2}
	r, ok, err := graph.Try(e, nil, graph.Decoding, failing(0), "a")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "a!", r)
	assert.Empty(t, e.failures)

	r, ok, err = graph.Try(e, nil, graph.Decoding, failing(2), "a")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "a!", r)
	assert.Equal(t, []graph.Failure{{Phase: graph.Decoding, Err: errBad}}, e.failures)

	_, ok, err = graph.Try(e, nil, graph.Decoding, failing(3), "a")
	require.NoError(t, err)
	assert.False(t, ok)

	e.fatal = errors.New("fatal")
	_, ok, err = graph.Try(e, nil, graph.Decoding, failing(3), "a")
	require.ErrorIs(t, err, e.fatal)
	assert.False(t, ok)
}

func TestDoAndRetrier_Retry(t *testing.T) {
	f := failing(1)
	g := func(s string) error { _, err := f(s); return err }
	require.NoError(t, graph.Do(&env{retries: 1}, nil, graph.Processing, g, "a"))
	_, err := f("a")
	require.NoError(t, err, "it has worked the second time")

	f = failing(9)
	e := &env{retries: 1}
	require.NoError(t, graph.Do(e, nil, graph.Processing, g, "a"), "skipped")
	e.fatal = errors.New("fatal")
	require.ErrorIs(t, graph.Do(e, nil, graph.Processing, g, "a"), e.fatal)

	again := func() error { return g("a") }
	require.ErrorIs(t, graph.Retrier(e, nil, graph.Producing, "t")(errBad, again), e.fatal)
	e.fatal = nil
	require.ErrorIs(t, graph.Retrier(e, nil, graph.Producing, "t")(errBad, again), retry.ErrSkipped)
	f = failing(0)
	require.NoError(t, graph.Retrier(e, nil, graph.Producing, "t")(errBad, again))
	assert.Equal(t, graph.Failure{Phase: graph.Producing, Err: errBad, Topic: "t"}, e.failures[len(e.failures)-1])
}
