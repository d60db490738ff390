package sarama

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConfig_NeverPrintsSecrets(t *testing.T) {
	const password, token = "hunter2-secret", "tok-secret"
	cfg := Config{Brokers: []string{"b:1"}, SASL: SASL{Mechanism: PLAIN, User: "alice", Password: password}}
	tok := Token{Value: token}
	var out strings.Builder
	for _, v := range []any{cfg, &cfg, cfg.SASL, &cfg.SASL, cfg.SASL.Password, tok, &tok, []Secret{password}, map[string]any{"x": cfg}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("", "v", v)
	}
	b, err := json.Marshal(tok)
	require.NoError(t, err)
	out.Write(b)
	for _, s := range []string{password, token} {
		assert.NotContains(t, out.String(), s)
		assert.NotContains(t, out.String(), fmt.Sprintf("%x", s))
	}
	assert.Contains(t, out.String(), "alice")
	assert.Empty(t, Secret("").String())
	assert.True(t, bytes.Contains([]byte(out.String()), []byte(redacted)))
}

func TestConfig_RefusesMistakes(t *testing.T) {
	ok := []string{"localhost:1"}
	tests := []struct {
		name, want string
		cfg        Config
	}{
		{"no brokers", "no brokers", Config{}},
		{"an address without a port", `"localhost"`, Config{Brokers: []string{"localhost"}}},
		{"an unknown mechanism", "GSSAPI", Config{Brokers: ok, SASL: SASL{Mechanism: "GSSAPI"}}},
		{"no password", "password", Config{Brokers: ok, SASL: SASL{Mechanism: SCRAM256, User: "u"}}},
		{"no token", "Token", Config{Brokers: ok, SASL: SASL{Mechanism: OAUTHBEARER}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			require.ErrorContains(t, err, tt.want)
		})
	}
	c, err := New(Config{Brokers: ok})
	require.NoError(t, err)
	c.Close()
	c.Close()
}
