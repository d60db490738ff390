package millstream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestNewReturnsAllMistakesAtOnce(t *testing.T) {
	_, err := millstream.New(nil, millstream.Config{
		ApplicationID: "a b", Brokers: []string{"localhost"}, CommitInterval: -1, SessionTimeout: time.Second, HeartbeatInterval: 2 * time.Second,
		MemoryBudget: 1, ReplicationFactor: -2, Compression: "rar", Workers: -1,
		SASL: &millstream.SASL{Mechanism: "PLAIN"}, OnDecodeError: failure.DeadLetter(""),
	})
	require.Error(t, err)
	for _, want := range []string{
		"the topology is nil", `Config.ApplicationID is "a b"`, `Config.Brokers has "localhost"`, "Config.CommitInterval is -1ns",
		"Config.HeartbeatInterval is 2s, not less than Config.SessionTimeout, 1s", "Config.MemoryBudget is 1 bytes", "Config.ReplicationFactor is -2",
		`Config.Compression is "rar"`, "Config.Workers is -1", "Config.SASL.User is not set", "Config.SASL.Password is not set",
		"Config.OnDecodeError: ",
	} {
		assert.ErrorContains(t, err, want)
	}
	_, err = millstream.New(upper(t), millstream.Config{})
	assert.ErrorContains(t, err, "Config.ApplicationID is not set")
	assert.ErrorContains(t, err, "Config.Brokers is not set")
	_, err = millstream.New(upper(t), millstream.Config{ApplicationID: "a", Brokers: []string{"b:1"}, SASL: &millstream.SASL{Mechanism: "x"}})
	assert.ErrorContains(t, err, `Config.SASL.Mechanism is "x"`)
	_, err = millstream.New(upper(t), millstream.Config{ApplicationID: "a", Brokers: []string{"b:1"}})
	assert.NoError(t, err, "the rest has defaults")
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	const secret = "swordfish"
	cfg := millstream.Config{
		ApplicationID: "a", Brokers: []string{"b:1"},
		SASL: &millstream.SASL{Mechanism: millstream.SASLPlain, User: "me", Password: secret},
	}
	token := millstream.Token{Value: secret, Extensions: map[string]string{"a": secret}}
	app, err := millstream.New(upper(t), cfg)
	require.NoError(t, err)
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		l := slog.New(h)
		l.Info("x", "config", cfg, "sasl", cfg.SASL, "value", *cfg.SASL, "token", token, "pointer", &token)
	}
	for _, x := range []any{cfg, &cfg, cfg.SASL, *cfg.SASL, token, &token, app, []millstream.SASL{*cfg.SASL}, map[string]millstream.Token{"a": token}} {
		for _, flag := range []string{"", "+", "#", " ", "0", "-", "30", ".3"} {
			for verb := 'A'; verb <= 'z'; verb++ {
				if verb != 'p' && verb != 'w' { // no verbs for a value: vet refuses them, and fmt then asks no method
					fmt.Fprintf(&log, "%"+flag+string(verb), x)
				}
			}
		}
		b, _ := json.Marshal(x)
		log.Write(b)
	}
	type service struct{ cfg millstream.Config } // fmt calls no methods on what is not exported
	fmt.Fprintf(&log, "%v %+v %#v %v", service{cfg}, service{cfg}, service{cfg}, &service{cfg})
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%d", []byte(secret))} {
		assert.False(t, strings.Contains(log.String(), form), "%q is printed", form)
	}
	assert.True(t, strings.Contains(log.String(), `PLAIN as "me"`), "what is no secret is printed")
}

func TestStatesHaveNames(t *testing.T) {
	assert.Equal(t, "restoring", millstream.Restoring.String())
	assert.Equal(t, "state 99", millstream.State(99).String())
	app, err := millstream.New(upper(t), millstream.Config{ApplicationID: "a", Brokers: []string{"b:1"}})
	require.NoError(t, err)
	assert.Equal(t, millstream.Created, app.State())
	assert.ErrorContains(t, app.Ready(), "created")
	assert.NoError(t, app.Live())
	_, err = app.OpenStore("x")
	assert.ErrorContains(t, err, `there is no store "x"`)
}

// What the configuration says of connections and records gets to the brokers.
func TestSettingsReachTheBrokers(t *testing.T) {
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
		toEnd(t, simple(t), cfg)
		b.Cluster().Close() // which ends what observes
		assert.Equal(t, map[string]bool{"rack-7": true}, racks)
		assert.Equal(t, map[int8]bool{4: true}, codecs, "4 is zstd")
		assert.Positive(t, dialed)
	})
}
