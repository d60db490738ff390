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

func TestSecretsAreNeverPrinted(t *testing.T) {
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

func TestConfigMistakes(t *testing.T) {
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

// The exchange of RFC 7677, section 3.
func TestScram(t *testing.T) {
	s := newScram(SCRAM256)
	s.nonce = "rOprNGfwEbeRWgbNEkqO"
	require.NoError(t, s.Begin("user", "pencil", ""))
	first, err := s.Step("")
	require.NoError(t, err)
	assert.Equal(t, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", first)
	proof, err := s.Step("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	require.NoError(t, err)
	assert.Equal(t, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", proof)
	assert.False(t, s.Done())
	_, err = s.Step("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
	require.NoError(t, err)
	assert.True(t, s.Done())
	_, err = s.Step("")
	require.Error(t, err)
}

func TestScramDistrusts(t *testing.T) {
	for name, msg := range map[string]string{"another nonce": "r=other,s=W22Z,i=4096", "our nonce only": "r=n,s=W22Z,i=4096", "no salt": "r=nx,s=!,i=4096", "no rounds": "r=nx,s=W22Z"} {
		t.Run(name, func(t *testing.T) {
			s := newScram(SCRAM512)
			s.nonce = "n"
			require.NoError(t, s.Begin("u=,", "p", ""))
			first, err := s.Step("")
			require.NoError(t, err)
			assert.Equal(t, "n,,n=u=3D=2C,r=n", first)
			_, err = s.Step(msg)
			require.Error(t, err)
		})
	}
	s := newScram(SCRAM512)
	require.NoError(t, s.Begin("u", "p", ""))
	_, err := s.Step("")
	require.NoError(t, err)
	_, err = s.Step("r=" + s.nonce + "x,s=W22Z,i=1")
	require.NoError(t, err)
	_, err = s.Step("v=AAAA")
	require.Error(t, err, "a server that does not know the password")
	s.step = 2
	_, err = s.Step("e=invalid-proof")
	require.ErrorContains(t, err, "invalid-proof")
}
