package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// A function of Events that does not return is found as one of a step is, and named; and it keeps no Run from its end, whichever it is.
func TestMaxProcessingTime_StuckEvents(t *testing.T) {
	state := func(at millstream.State) func(e *millstream.Events, hang func()) {
		return func(e *millstream.Events, hang func()) {
			e.State = func(_, now millstream.State) {
				if now == at {
					hang()
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		events  func(e *millstream.Events, hang func())
		stopped bool // it hangs at the end only
		want    string
	}{
		"Assigned": {func(e *millstream.Events, hang func()) { e.Assigned = func([]string) { hang() } }, false, "Config.Events.Assigned: it has not returned"},
		"Restore":  {func(e *millstream.Events, hang func()) { e.Restore = func(millstream.RestoreInfo) { hang() } }, false, "Config.Events.Restore: it has not returned"},
		"Commit":   {func(e *millstream.Events, hang func()) { e.Commit = func(millstream.CommitInfo) { hang() } }, false, "Config.Events.Commit: it has not returned"},
		"running":  {state(millstream.Running), false, "Config.Events.State: it has not returned"},
		"stopping": {state(millstream.Stopping), true, "Config.Events.State: it has not returned for 10s, Config.StopTimeout"},
		"stopped":  {state(millstream.Stopped), true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
				write(t, k, "in", 0, 3)
				b := stream.NewBuilder()
				stream.To(table.ToStream(table.Count(stream.GroupByKey(stream.From(b, in)), "counts")), counts)
				cfg := config(t, k)
				cfg.MaxProcessingTime, cfg.StopTimeout = 20*time.Second, 10*time.Second
				over := make(chan struct{})
				tt.events(&cfg.Events, func() { <-over })
				m := start(t, build(t, b), cfg)
				time.Sleep(15 * time.Second)
				assert.NoError(t, m.Live())
				if tt.stopped {
					m.cancel()
				} else {
					time.Sleep(10 * time.Second)
					assert.ErrorContains(t, m.Live(), tt.want)
				}
				time.Sleep(12 * time.Second)
				select {
				case err := <-m.done:
					if tt.want == "" {
						require.NoError(t, err)
					} else {
						require.ErrorContains(t, err, tt.want)
					}
				default:
					assert.Fail(t, "Run does not return")
				}
				close(over)
				time.Sleep(time.Minute) // what is left behind ends, too
			})
		})
	}
}
