package failure_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
)

var errBad = errors.New("bad")

// act is what p comes to at the given attempt under an App with the zero policy.
func act(p failure.Policy, attempt int) failure.Action {
	return p.Action(context.Background(), failure.Report{Attempt: attempt, Err: errBad}, failure.Policy{})
}

func TestPolicy_Action(t *testing.T) {
	assert.Equal(t, failure.Action{Verb: failure.ActStop, Err: errBad}, act(failure.Stop(), 1))
	assert.Equal(t, failure.Action{Verb: failure.ActSkip, Err: errBad}, act(failure.Skip(), 1))
	assert.Equal(t, failure.Action{Verb: failure.ActDeadLetter, Topic: "dlq", Err: errBad}, act(failure.DeadLetter("dlq"), 1))
}

func TestPolicy_ZeroIsTheApps(t *testing.T) {
	r := failure.Report{Attempt: 1, Err: errBad}
	assert.Equal(t, failure.ActStop, failure.Policy{}.Action(t.Context(), r, failure.Policy{}).Verb)
	assert.Equal(t, failure.ActSkip, failure.Policy{}.Action(t.Context(), r, failure.Skip()).Verb)
	assert.Equal(t, failure.ActStop, failure.Stop().Action(t.Context(), r, failure.Skip()).Verb)

	app := failure.Retry(1, time.Second, time.Second, failure.Policy{})
	r.Attempt = 2
	assert.Equal(t, failure.ActStop, failure.Policy{}.Action(t.Context(), r, app).Verb, "the App's own zero policy is Stop")
	r.Attempt = 1
	assert.Equal(t, failure.ActRetry, failure.Policy{}.Action(t.Context(), r, app).Verb)
}

func TestRetry_WaitsLongerEachTime(t *testing.T) {
	p := failure.Retry(5, 100*time.Millisecond, time.Second, failure.DeadLetter("dlq"))
	var pauses []time.Duration
	for attempt := 1; attempt <= 5; attempt++ {
		a := act(p, attempt)
		require.Equal(t, failure.ActRetry, a.Verb)
		assert.Equal(t, []string{"dlq"}, a.Then.Topics())
		pauses = append(pauses, a.Pause)
	}
	ms := time.Millisecond
	assert.Equal(t, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1000 * ms}, pauses)
	assert.Equal(t, failure.Action{Verb: failure.ActDeadLetter, Topic: "dlq", Err: errBad}, act(p, 6))

	long := failure.Retry(100, 1, 1<<62, failure.Stop())
	assert.Equal(t, time.Duration(1<<62), act(long, 100).Pause, "doubling does not overflow")
}

func TestRetry_AfterRetryCountsAgain(t *testing.T) {
	p := failure.Retry(2, time.Millisecond, time.Second, failure.Retry(2, time.Minute, time.Hour, failure.Skip()))
	assert.Equal(t, 2*time.Millisecond, act(p, 2).Pause)
	assert.Equal(t, time.Minute, act(p, 3).Pause)
	assert.Equal(t, 2*time.Minute, act(p, 4).Pause)
	assert.Equal(t, failure.ActSkip, act(p, 5).Verb)
}

func TestDecide_IsCalledAfterEachFailure(t *testing.T) {
	p := failure.Decide(func(_ context.Context, r failure.Report) failure.Policy {
		if errors.Is(r.Err, errBad) && r.Attempt < 3 {
			return failure.Retry(1, time.Second, 10*time.Second, failure.Stop())
		}
		return failure.Skip()
	})
	first := act(p, 1)
	assert.Equal(t, failure.ActRetry, first.Verb)
	assert.Equal(t, time.Second, first.Pause)
	assert.Equal(t, 2*time.Second, act(p, 2).Pause)
	assert.Equal(t, failure.ActSkip, act(p, 3).Verb)
}

func TestDecide_MayReturnTheAppsPolicy(t *testing.T) {
	zero := failure.Decide(func(context.Context, failure.Report) failure.Policy { return failure.Policy{} })
	r := failure.Report{Attempt: 1, Err: errBad}
	assert.Equal(t, failure.ActSkip, zero.Action(t.Context(), r, failure.Skip()).Verb)
	assert.Equal(t, failure.ActStop, zero.Action(t.Context(), r, zero).Verb, "the App's own Decide, asked once more, says the same: stop")
}

func TestDecide_EndlessDecidesStop(t *testing.T) {
	var p failure.Policy
	asked := 0
	p = failure.Decide(func(context.Context, failure.Report) failure.Policy { asked++; return p })
	a := act(p, 1)
	assert.Equal(t, failure.ActStop, a.Verb)
	assert.Equal(t, 8, asked)
	require.ErrorIs(t, a.Err, errBad)
	require.ErrorContains(t, a.Err, "returned a Decide 8 times in a row")
}

func TestDecide_InvalidPolicyStops(t *testing.T) {
	p := failure.Decide(func(context.Context, failure.Report) failure.Policy { return failure.DeadLetter("") })
	a := act(p, 1)
	assert.Equal(t, failure.ActStop, a.Verb)
	require.ErrorIs(t, a.Err, errBad)
	require.ErrorContains(t, a.Err, "the topic's name is empty")
}

func TestDrop_WinsOverThePolicy(t *testing.T) {
	err := fmt.Errorf("order 7: %w", failure.Drop("no country"))
	a := failure.Stop().Action(t.Context(), failure.Report{Attempt: 1, Err: err}, failure.Stop())
	assert.Equal(t, failure.Action{Verb: failure.ActSkip, Reason: "no country", Err: err}, a)

	reason, ok := failure.DropReason(err)
	assert.True(t, ok)
	assert.Equal(t, "no country", reason)
	_, ok = failure.DropReason(errBad)
	assert.False(t, ok)
	_, ok = failure.DropReason(nil)
	assert.False(t, ok)
}

func TestPolicy_Validate(t *testing.T) {
	always := failure.Decide(func(context.Context, failure.Report) failure.Policy { return failure.Skip() })
	for _, p := range []failure.Policy{{}, failure.Stop(), failure.Skip(), always, failure.DeadLetter("a.B_9-"),
		failure.DeadLetter(strings.Repeat("x", 249)), failure.Retry(1, 1, 1, failure.Policy{})} {
		require.NoError(t, p.Validate(), "%v", p)
	}
	for want, p := range map[string]failure.Policy{
		"name is empty":                     failure.DeadLetter(""),
		`topic "..": Kafka allows letters`:  failure.DeadLetter(".."),
		`topic "ä": Kafka allows letters`:   failure.DeadLetter("ä"),
		`topic "a b": Kafka allows letters`: failure.DeadLetter("a b"),
		"250 characters":                    failure.DeadLetter(strings.Repeat("x", 250)),
		"0 attempts, want at least 1":       failure.Retry(0, 1, 1, failure.Stop()),
		"first pause 0s, want more than 0":  failure.Retry(1, 0, 1, failure.Stop()),
		"pause 1ns is shorter than the fir": failure.Retry(1, 2, 1, failure.Stop()),
		"the function is nil":               failure.Retry(1, 1, 1, failure.Decide(nil)),
	} {
		require.ErrorContains(t, p.Validate(), want)
	}
	both := failure.Retry(0, 1, 1, failure.DeadLetter(""))
	require.ErrorContains(t, both.Validate(), "0 attempts")
	require.ErrorContains(t, both.Validate(), "name is empty")
}

func TestPolicy_String(t *testing.T) {
	p := failure.Retry(3, time.Second, time.Minute, failure.DeadLetter("dlq"))
	assert.Equal(t, `retry 3 times (1s to 1m0s), then dead letter to "dlq"`, p.String())
	assert.Equal(t, "the App's policy", failure.Policy{}.String())
	assert.Equal(t, "stop skip decide", fmt.Sprint(failure.Stop(), " ", failure.Skip(), " ", failure.Decide(nil)))
	assert.Equal(t, "dead letter", failure.ActDeadLetter.String())
	assert.Equal(t, []string{"dlq"}, p.Topics())
	assert.Empty(t, failure.Skip().Topics())
	assert.True(t, failure.Policy{}.IsZero())
	assert.False(t, failure.Stop().IsZero())
}
