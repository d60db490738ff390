package failure_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
)

func TestTaskPolicy_Restart(t *testing.T) {
	_, ok := failure.TaskPolicy{}.Restart(0)
	assert.False(t, ok, "the zero policy stops the App")
	_, ok = failure.StopApp().Restart(0)
	assert.False(t, ok)
	p := failure.RestartTask(8, time.Hour)
	assert.Equal(t, time.Hour, p.Within())
	var pauses []time.Duration
	for n := 0; ; n++ {
		pause, ok := p.Restart(n)
		if !ok {
			break
		}
		pauses = append(pauses, pause)
	}
	s := time.Second
	assert.Equal(t, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}, pauses)
	pause, _ := p.Backoff(3*s, 5*s).Restart(1)
	assert.Equal(t, 5*s, pause)
}

func TestTaskPolicy_Validate(t *testing.T) {
	for want, p := range map[string]failure.TaskPolicy{
		"":                                     failure.RestartTask(1, 1).Backoff(1, 1),
		"0 restarts, want at least 1":          failure.RestartTask(0, time.Second),
		"within 0s, want more than 0":          failure.RestartTask(1, 0),
		"first pause 0s":                       failure.RestartTask(1, time.Second).Backoff(0, time.Second),
		"longest pause 1s is shorter than the": failure.RestartTask(1, time.Second).Backoff(2*time.Second, time.Second),
		"the function is nil":                  failure.DecideTask(nil),
	} {
		if err := p.Validate(); want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	require.NoError(t, failure.StopApp().Validate())
}

func TestTaskPolicy_Resolve(t *testing.T) {
	decide := failure.DecideTask(func(r failure.TaskReport) failure.TaskPolicy {
		switch r.Restarts {
		case 0:
			return failure.RestartTask(7, time.Minute)
		case 1:
			return failure.StopApp()
		case 2:
			return failure.RestartTask(-1, time.Minute)
		}
		return failure.DecideTask(func(failure.TaskReport) failure.TaskPolicy { return failure.StopApp() })
	})
	assert.True(t, decide.Decides())
	p, err := decide.Resolve(failure.TaskReport{})
	require.NoError(t, err)
	assert.Equal(t, failure.RestartTask(7, time.Minute), p)
	p, err = decide.Resolve(failure.TaskReport{Restarts: 1})
	require.NoError(t, err)
	assert.Equal(t, failure.StopApp(), p)
	_, err = decide.Resolve(failure.TaskReport{Restarts: 2})
	require.ErrorContains(t, err, "-1 restarts")
	_, err = decide.Resolve(failure.TaskReport{Restarts: 3, Err: errors.New("x")})
	require.ErrorContains(t, err, "another DecideTask")
}

func TestTaskPolicy_String(t *testing.T) {
	assert.Equal(t, "stop the App", failure.StopApp().String())
	assert.Equal(t, "restart the task 3 times within 10m0s (pauses of 1s to 1m0s), then stop the App",
		failure.RestartTask(3, 10*time.Minute).String())
	assert.Equal(t, "decide", failure.DecideTask(nil).String())
}
