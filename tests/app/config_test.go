package app_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// What the configuration says of connections and records gets to the brokers.
func TestConfig_ReachesBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := config(t, b)
		cfg.Rack, cfg.Compression, cfg.ReplicationFactor = "rack-7", "zstd", 1
		cfg.TopicConfig = map[string]string{"segment.ms": "12345"}
		dialed := 0
		var mu sync.Mutex
		cfg.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			dialed++
			mu.Unlock()
			return b.Dialer()(ctx, network, address)
		}
		racks, codecs := map[string]bool{}, map[int8]bool{}
		write(t, b, "in", 0, 100)
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch, kmsg.Produce}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
			switch r := r.(type) {
			case *kmsg.FetchRequest:
				racks[r.Rack] = true
			case *kmsg.ProduceRequest:
				var batch kmsg.RecordBatch
				if err := batch.ReadFrom(r.Topics[0].Partitions[0].Records); err == nil {
					codecs[int8(batch.Attributes&7)] = true
				}
			}
			return true
		}})
		runToEnd(t, simple(t), cfg)
		b.Cluster().Close() // which ends what observes
		assert.Equal(t, map[string]bool{"rack-7": true}, racks)
		assert.Equal(t, map[int8]bool{4: true}, codecs, "4 is zstd")
		assert.Positive(t, dialed)
	})
}

// Brokers bound the session timeout. The error names the setting, its value, and the brokers' settings; Ready and Live say it, too.
func TestConfig_SessionTimeoutThatBrokersRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := config(t, b)
		cfg.SessionTimeout = 3 * time.Second
		m := start(t, simple(t), cfg)
		err := <-m.done
		for _, want := range []string{"Config.SessionTimeout is 3s", "group.min.session.timeout.ms", "group.max.session.timeout.ms"} {
			require.ErrorContains(t, err, want)
		}
		assert.Equal(t, err, m.Live())
		require.ErrorIs(t, m.Ready(), err)
		require.EqualError(t, m.Ready(), "millstream: failed: "+err.Error())
	})
}
