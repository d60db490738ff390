package app_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// A cluster that has fewer brokers than the coordinators' topic needs answers, for ever, that there is no coordinator. An App that waits for it
// says which one, and where to look: once in the log, and in Ready as long as it lasts.
func TestCoordinator_MissingForLong(t *testing.T) {
	for _, v := range []struct {
		name      string
		request   kmsg.Key
		guarantee millstream.Guarantee
		of, topic string
		setting   string
	}{
		{"group", kmsg.FindCoordinator, millstream.AtLeastOnce, `group "app"`, "__consumer_offsets", "offsets.topic.replication.factor"},
		{"transactional id", kmsg.InitProducerID, millstream.ExactlyOnce, `transactional id "app-`, "__transaction_state",
			"transaction.state.log.replication.factor"},
	} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
				write(t, b, "in", 0, 1)
				fault := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{v.request}, Err: kerr.CoordinatorNotAvailable, TopLevel: true, Count: -1})
				cfg, log := logged(t, b, newOutage(b))
				cfg.Guarantee, cfg.Workers = v.guarantee, 1
				m := start(t, upper(t), cfg)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				assert.Empty(t, lines(log, "WARN"), "a cluster that starts has no coordinator for a while")
				for range 3 {
					time.Sleep(20 * time.Second)
					synctest.Wait()
					for _, text := range []string{"no broker is the coordinator of " + v.of, v.topic, v.setting} {
						require.ErrorContains(t, m.Ready(), text)
					}
					require.NoError(t, m.Live())
					assert.Equal(t, 1, strings.Count(log.String(), "no broker is the coordinator"))
					assert.Contains(t, lines(log, "WARN")[0], v.setting)
				}
				fault.Remove()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				require.NoError(t, m.Ready())
				assert.Contains(t, log.String(), "there is a coordinator again")
				assert.Len(t, committedRecords(t, b, "out"), 1)
				m.stop()
			})
		})
	}
}
