package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// Members that start together for the first time skip what is there, all of them, though one commits its start before another looks.
func TestLatest_FirstStartOfSeveralMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 6), broker.Topic("out", 1))
		a := adding{t, b}
		a.each("in", 6, "before")
		var members []*member
		for range 3 {
			members = append(members, start(t, latestOnly(t), config(t, b)))
			time.Sleep(700 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		a.has("out", 0, "what was there is skipped")
		for _, m := range members {
			m.stop()
		}
	})
}
