package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// StopTimeout is a bound, whatever Run waits for: a function that does not return, brokers that do not answer, at the start or later.
func TestStopTimeout_IsABound(t *testing.T) {
	const limit = 10 * time.Second
	for name, c := range map[string]struct{ hang, frozen, atStart bool }{
		"a function that does not return":            {hang: true},
		"brokers that do not answer":                 {frozen: true},
		"brokers that do not answer, and a function": {hang: true, frozen: true},
		"brokers that have never answered":           {frozen: true, atStart: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
				over := make(chan struct{})
				builder := stream.NewBuilder()
				s := stream.Filter(stream.From(builder, in), func(_, v string) bool {
					if c.hang && v == "v7" {
						<-over
					}
					return true
				})
				stream.To(table.ToStream(table.Count(stream.GroupByKey(s), "counts")), counts)
				cfg := config(t, b)
				cfg.StopTimeout = limit
				v := newValve(b.Dialer())
				cfg.Dialer = v.Dial
				if c.atStart {
					v.freeze()
				}
				m := start(t, build(t, builder), cfg)
				time.Sleep(5 * time.Second)
				write(t, b, "in", 0, 10)
				time.Sleep(10 * time.Millisecond)
				if c.frozen && !c.atStart {
					v.freeze()
				}
				before := time.Now()
				m.cancel()
				err := <-m.done
				took := time.Since(before)
				assert.LessOrEqual(t, took, limit)
				if !c.atStart {
					require.ErrorContains(t, err, "StopTimeout")
				}
				if c.hang {
					require.ErrorContains(t, err, "filter-1")
					require.ErrorContains(t, err, "topic in[0] offset 7: it has not returned")
				} else if err != nil {
					require.NotContains(t, err.Error(), "it has not returned")
				}
				close(over)
				if c.frozen {
					v.thaw()
				}
				time.Sleep(time.Minute) // what is left behind ends, too
			})
		})
	}
}
