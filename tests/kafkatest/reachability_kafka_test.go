//go:build kafka

package kafkatest_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// warned returns the lines of a log of level Warn.
func warned(l *log) (out []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "level=WARN") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// soon is two seconds, and what a busy machine may add. TestReachability_WarnsWhenBrokersAreAway asks for
// the two, in virtual time, where nothing is added.
const soon = 30 * time.Second

// An App on a real Kafka says soon why nothing answers: at the start, and when the node is killed; and when it is back.
func TestKafkaReachability(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{SASL: true})
	topics(t, ctx, n)
	web := httptest.NewServer(nil)
	defer web.Close()
	login := &millstream.SASL{Mechanism: millstream.SASLScram512, User: kafkatest.User, Password: kafkatest.Password}
	for name, tt := range map[string]struct {
		addr string
		tls  *tls.Config
		sasl *millstream.SASL
		want string
	}{
		"nothing listens":     {"127.0.0.1:1", nil, nil, "connection refused"},
		"no such name":        {"kafka.invalid:9092", nil, nil, `the name \"kafka.invalid\" cannot be resolved`},
		"a web server":        {web.Listener.Addr().String(), nil, nil, "not a Kafka broker"},
		"TLS to plain text":   {n.Addr, trust(t, n.CA), nil, "closed during the TLS handshake, as a port for plain text does"},
		"plain text to TLS":   {n.SASLAddr, nil, nil, "TLS"},
		"no login, over TLS":  {n.SASLAddr, trust(t, n.CA), nil, "as a port that requires a login does"},
		"a login, plain text": {n.SASLAddr, nil, login, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			var l log
			cfg := millstream.Config{ApplicationID: "away", Brokers: []string{tt.addr}, StateDir: t.TempDir(), TLS: tt.tls, SASL: tt.sasl,
				Logger: slog.New(slog.NewTextHandler(&l, nil))}
			m := run(t, cfg)
			began := time.Now()
			eventually(t, "a warning", func() bool { return len(warned(&l)) > 0 })
			assert.Less(t, time.Since(began), soon)
			assert.Contains(t, warned(&l)[0], "no broker answers")
			assert.Contains(t, warned(&l)[0], tt.addr)
			assert.Contains(t, warned(&l)[0], tt.want)
			require.ErrorContains(t, m.Ready(), strings.ReplaceAll(tt.want, `\"`, `"`))
			t.Log(warned(&l)[0])
			m.stop()
			assert.Len(t, warned(&l), 1)
		})
	}
	var l log
	m := run(t, millstream.Config{ApplicationID: "killed", Brokers: []string{n.Addr}, StateDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&l, nil))})
	m.has(tasks)
	eventually(t, "readiness", func() bool { return m.Ready() == nil })
	before := len(warned(&l))
	killed := time.Now()
	n.Kill()
	eventually(t, "a warning", func() bool { return len(warned(&l)) > before })
	assert.Less(t, time.Since(killed), soon)
	assert.Contains(t, warned(&l)[before], "connection refused")
	require.ErrorContains(t, m.Ready(), "no broker answers: "+n.Addr+": connection refused")
	require.NoError(t, n.Restart(ctx))
	eventually(t, "readiness", func() bool { return m.Ready() == nil })
	assert.Contains(t, l.String(), "brokers answer again")
	t.Log(l.String())
	m.stop()
}

// A password that is not ASCII is hashed as its UTF-8 is, here as by Kafka's own tool.
func TestKafkaCredentials_ScramWithAnyPassword(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	t.Setenv("LC_ALL", "C.UTF-8") // in which Java reads its arguments
	n := kafkatest.Start(t, kafkatest.Options{SASL: true})
	topics(t, ctx, n)
	const password = "grün-cafe\u0301-パス" // SASLprep would compose the accent; Kafka takes users in ASCII only
	for mechanism, iterations := range map[string]string{millstream.SASLScram256: "4096", millstream.SASLScram512: "16384"} {
		_, err := n.Tool(ctx, "kafka.admin.ConfigCommand", "--bootstrap-server", n.Addr, "--alter", "--entity-type", "users", "--entity-name", "juergen",
			"--add-config", mechanism+"=[iterations="+iterations+",password="+password+"]")
		require.NoError(t, err)
	}
	for _, mechanism := range []string{millstream.SASLScram256, millstream.SASLScram512} {
		var l log
		toEnd(t, ctx, secure(n, strings.ToLower(mechanism), t.TempDir(), trust(t, n.CA), &millstream.SASL{Mechanism: mechanism, User: "juergen", Password: password}, &l))
		hides(t, l.String(), password)
	}
}
