package millstream_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upper is a topology without state.
func upper(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	texts := func(name string) stream.Topic[string, string] {
		return stream.NewTopic(name, serde.String, serde.String)
	}
	stream.To(stream.MapValues(stream.From(b, texts("in")), strings.ToUpper), texts("out"))
	top, err := b.Build()
	require.NoError(t, err)
	return top
}

func TestConfig_AllMistakesAtOnce(t *testing.T) {
	_, err := millstream.New(nil, millstream.Config{
		ApplicationID: "a b", Brokers: []string{"localhost", "b:kafka", "b:", "b:0", "b:65536", "[::1]:9092"}, CommitInterval: -1, SessionTimeout: time.Second, HeartbeatInterval: 2 * time.Second,
		MemoryBudget: 1, ReplicationFactor: -2, Compression: "rar", Workers: -1,
		Tags: map[string]string{
			"a": "", "": "b", "twenty-one-characters": "x", "c": "thirty characters are the most.", "zonë-of-twenty-chars": "ünd dreissig sind's am meisten",
		}, StandbyTags: []string{"a", "zone", "a"},
		SASL: &millstream.SASL{Mechanism: "PLAIN"}, OnDecodeError: failure.DeadLetter(""),
	})
	require.Error(t, err)
	for _, want := range []string{
		"the topology is nil", `Config.ApplicationID is "a b"`, `Config.Brokers has "localhost"`, "Config.CommitInterval is -1ns",
		"Config.HeartbeatInterval is 2s, not less than Config.SessionTimeout, 1s", "Config.MemoryBudget is 1 bytes", "Config.ReplicationFactor is -2",
		`Config.Compression is "rar"`, "Config.Workers is -1: a number of 1 or more, or 0 for GOMAXPROCS, is needed", "Config.SASL.User is not set", "Config.SASL.Password is not set",
		"Config.OnDecodeError: ", `Config.Tags["a"] is empty`, "Config.Tags has the empty key",
		`Config.Tags has a key of 21 characters, "twenty-one-characters": 20 at most are possible`,
		`Config.Tags["c"] has 31 characters: 30 at most are possible`,
		`Config.StandbyTags has "zone", of which Config.Tags has no value`, `Config.StandbyTags has "a" twice`,
	} {
		assert.ErrorContains(t, err, want)
	}
	for _, port := range []string{"b:kafka", "b:", "b:0", "b:65536"} {
		assert.ErrorContains(t, err, fmt.Sprintf("Config.Brokers has %q, whose port", port))
	}
	assert.NotContains(t, err.Error(), "::1")
	assert.NotContains(t, err.Error(), "zonë", "characters count, not bytes")
	_, err = millstream.New(upper(t), millstream.Config{
		ApplicationID: "a", Brokers: []string{"b:1"}, Tags: map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1", "f": "1"},
	})
	require.EqualError(t, err, "millstream: Config.Tags has 6 tags: 5 at most are possible")
	_, err = millstream.New(upper(t), millstream.Config{})
	assert.ErrorContains(t, err, "Config.ApplicationID is not set")
	assert.ErrorContains(t, err, "Config.Brokers is not set")
	_, err = millstream.New(upper(t), millstream.Config{ApplicationID: "a", Brokers: []string{"b:1"}, SASL: &millstream.SASL{Mechanism: "x"}})
	assert.ErrorContains(t, err, `Config.SASL.Mechanism is "x"`)
	_, err = millstream.New(upper(t), millstream.Config{ApplicationID: "a", Brokers: []string{"b:1"}})
	assert.NoError(t, err, "the rest has defaults")
}

func TestConfig_SecretsAreNeverPrinted(t *testing.T) {
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

func TestState_HasName(t *testing.T) {
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
