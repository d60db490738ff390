package app_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestGlobalStore_OfProcessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 1), broker.Topic("rows", 1), broker.Topic("letters", 1))
		number(t, b, 21)
		require.NoError(t, b.Produce(t.Context(), "rows", broker.Record{Key: []byte("n"), Value: []byte("no number")}))
		top, ref := numbers(t, failure.DeadLetter("letters"), func(int64) error { return nil })
		cfg := config(t, b)
		for round := range 2 {
			m := start(t, top, cfg)
			write(t, b, "in", round, 1)
			assert.Equal(t, "21 42", string(await(t, b, "out", round+1)[round].Value))
			v, _, err := ref.In(m).Get("n")
			require.NoError(t, err)
			assert.EqualValues(t, 21, v)
			assert.Equal(t, round == 0, m.Stats().Dropped["record does not decode"] == 1, "a restart begins behind it")
			m.stop()
		}
		rs, err := b.Read(t.Context(), "letters")
		require.NoError(t, err)
		assert.Empty(t, rs, "each instance would write it")
	})
}

func TestGlobalStore_FailureStopsApp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before bool // it is there when the App starts
		f      func(int64) error
		want   string
	}{
		{"an error at the start", true, func(int64) error { return errors.New("too much") }, "too much"},
		{"an error later", false, func(int64) error { return errors.New("too much") }, "too much"},
		{"a panic", false, func(int64) error { panic("boom") }, "panic: boom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
				top, _ := numbers(t, failure.Policy{}, tt.f)
				if tt.before {
					number(t, b, 1)
				}
				m := start(t, top, config(t, b))
				if !tt.before {
					time.Sleep(time.Second)
					require.NoError(t, m.Ready())
					number(t, b, 1)
				}
				err := <-m.done
				require.ErrorContains(t, err, tt.want)
				require.ErrorContains(t, err, `"keep"`)
				assert.Equal(t, millstream.Failed, m.State())
			})
		})
	}
}

// A global store that was not read to the end is as old as its checkpoint was: a tombstone behind it, which was not read, may be compacted
// away a day after that.
func TestGlobalStore_InterruptedReadIsNotYounger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		top, _ := globalJoin(t)
		cfg := config(t, b)
		log := logTo(&cfg)
		writeRows(t, b, 10, 1)
		m := start(t, top, cfg)
		time.Sleep(5 * time.Second)
		m.stop()
		time.Sleep(20 * time.Hour)
		for i := range 10 { // each is more than a fetch brings
			require.NoError(t, b.Produce(t.Context(), "rows", broker.Record{Key: fmt.Append(nil, i), Value: make([]byte, 900<<10)}))
		}
		interrupted := cfg
		ctx, cancel := withCancel(t)
		var last millstream.RestoreInfo
		interrupted.Events.Restore = func(r millstream.RestoreInfo) {
			if last = r; r.Done > 0 && r.Done < r.End {
				cancel()
				time.Sleep(5 * time.Second)
			}
		}
		app, err := millstream.New(top, interrupted)
		require.NoError(t, err)
		require.NoError(t, app.Run(ctx))
		require.Less(t, last.Done, last.End, "it was not read to the end")
		require.Empty(t, log.lines("checkpoint not trusted"))
		time.Sleep(20 * time.Hour)
		m = start(t, top, cfg)
		time.Sleep(time.Minute)
		assert.Len(t, log.lines("checkpoint not trusted"), 1)
		require.NoError(t, m.Ready())
		m.stop()
	})
}
