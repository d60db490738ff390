package graph_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
)

// failing is the part of a task's environment that deals with failures.
type failing struct {
	graph.Env
	ctx     context.Context
	verdict graph.Verdict
	fatal   error
	asked   []graph.Failure
}

func (f *failing) Context() context.Context { return f.ctx }

func (f *failing) Fail(_ *graph.Node, x graph.Failure) (graph.Verdict, error) {
	f.asked = append(f.asked, x)
	return f.verdict, f.fatal
}

func TestFailedAsksThePolicy(t *testing.T) {
	bad, fatal := errors.New("bad"), errors.New("fatal")
	env := &failing{ctx: t.Context(), verdict: graph.Again}
	again, err := graph.Failed(env, nil, 2, bad)
	require.NoError(t, err)
	assert.True(t, again)
	assert.Equal(t, []graph.Failure{{Phase: graph.Run, Err: bad, Attempt: 2}}, env.asked)

	env.verdict = graph.Skip
	again, err = graph.Failed(env, nil, 3, bad)
	require.NoError(t, err)
	assert.False(t, again)

	env.verdict, env.fatal = graph.Again, fatal
	again, err = graph.Failed(env, nil, 4, bad)
	require.ErrorIs(t, err, fatal)
	assert.False(t, again)
}

func TestATaskClosedInHasteAsksNoPolicy(t *testing.T) {
	why := errors.New("moved away")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	env := &failing{ctx: ctx, verdict: graph.Skip}
	again, err := graph.Failed(env, nil, 1, context.Canceled)
	require.ErrorIs(t, err, why)
	assert.False(t, again)
	assert.Empty(t, env.asked)
}
