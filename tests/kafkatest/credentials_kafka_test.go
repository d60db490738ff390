//go:build kafka

package kafkatest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// log is a log of several goroutines.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hides asserts that none of the secrets stands in text, in any form that a printer might choose.
func hides(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		for _, form := range []string{s, fmt.Sprintf("%x", s), fmt.Sprintf("%d", []byte(s)), base64.StdEncoding.EncodeToString([]byte(s))} {
			assert.NotContains(t, text, form)
		}
	}
}

// An App logs in over TLS by each mechanism, does its work, and says nothing about its secrets.
func TestKafkaCredentials_LogIn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{SASL: true})
	topics(t, ctx, n)
	f := feed(t, n, 4)
	f.more(t, 500)
	counted, _ := f.end(t)
	bearer := token()
	asked := 0
	password := func(mechanism string) *millstream.SASL {
		return &millstream.SASL{Mechanism: mechanism, User: kafkatest.User, Password: kafkatest.Password}
	}
	for name, sasl := range map[string]*millstream.SASL{
		"plain":    password(millstream.SASLPlain),
		"scram256": password(millstream.SASLScram256),
		"scram512": password(millstream.SASLScram512),
		"bearer": {Mechanism: millstream.SASLOAuthBearer, Token: func(context.Context) (millstream.Token, error) {
			asked++
			return millstream.Token{Value: bearer}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var l log
			app := toEnd(t, ctx, secure(n, name, t.TempDir(), trust(t, n.CA), sasl, &l))
			assert.Equal(t, counted, latest(t, ctx, n, name+"-words-changelog"))
			hides(t, l.String()+fmt.Sprintf("%v %+v", app, app), kafkatest.Password, bearer)
		})
	}
	assert.Positive(t, asked)
}

func secure(n *kafkatest.Node, id, dir string, trusted *tls.Config, sasl *millstream.SASL, l *log) millstream.Config {
	return millstream.Config{
		ApplicationID: id, Brokers: []string{n.SASLAddr}, StateDir: dir, TLS: trusted, SASL: sasl,
		Logger: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// Wrong credentials are no broker that is away: Run ends, with an error that says what is wrong and nothing that is secret.
func TestKafkaCredentials_Wrong(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{SASL: true})
	topics(t, ctx, n)
	const wrong = "not-the-password"
	login := func(mechanism string) *millstream.SASL {
		return &millstream.SASL{Mechanism: mechanism, User: kafkatest.User, Password: wrong}
	}
	right := login(millstream.SASLScram512)
	right.Password = kafkatest.Password
	expired := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"alice","iat":1,"exp":2}`)) + "."
	for name, c := range map[string]struct {
		tls  *tls.Config
		sasl *millstream.SASL
		want string
	}{
		"plain":    {trust(t, n.CA), login(millstream.SASLPlain), "uthenti"},
		"scram256": {trust(t, n.CA), login(millstream.SASLScram256), "uthenti"},
		"scram512": {trust(t, n.CA), login(millstream.SASLScram512), "uthenti"},
		"bearer": {trust(t, n.CA), &millstream.SASL{Mechanism: millstream.SASLOAuthBearer, Token: func(context.Context) (millstream.Token, error) {
			return millstream.Token{Value: expired}, nil
		}}, "uthenti"},
		"unknown authority": {trust(t, otherCA(t)), right, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			var l log
			top, err := counting()
			require.NoError(t, err)
			app, err := millstream.New(top, secure(n, "wrong", t.TempDir(), c.tls, c.sasl, &l))
			require.NoError(t, err)
			within, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			err = app.Run(within)
			require.NoError(t, within.Err(), "it waits for what will not come: %v\n%s", err, &l)
			require.ErrorContains(t, err, c.want)
			t.Log(err)
			assert.Error(t, app.Live())
			hides(t, err.Error()+l.String(), wrong, kafkatest.Password, expired)
		})
	}
}

// Where sessions of SASL end, each connection authenticates again and goes on: none is lost, and so no batch or answer.
func TestKafkaCredentials_SessionsAreRenewed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	// A connection authenticates again in the last tenth of its session. What it has sent before has to
	// arrive within that tenth, also on a busy machine, or the broker closes the connection.
	sessions := map[string]string{"connections.max.reauth.ms": "8000"}
	n := kafkatest.Start(t, kafkatest.Options{SASL: true, Properties: sessions})
	topics(t, ctx, n)
	var l log
	cfg := secure(n, "renew", t.TempDir(), trust(t, n.CA), &millstream.SASL{
		Mechanism: millstream.SASLScram512, User: kafkatest.User, Password: kafkatest.Password,
	}, &l)
	var dials atomic.Int64
	cfg.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	m := run(t, cfg)
	m.has(tasks)
	f := feed(t, n, 4)
	read := func() {
		before := m.Stats().RecordsOut
		f.more(t, 20)
		eventually(t, "records that come out", func() bool { return m.Stats().RecordsOut >= before+40 })
	}
	read()
	eventually(t, "commits of all workers", func() bool { return m.Stats().Commits > 20 }) // every connection was used
	opened := dials.Load()
	for end := time.Now().Add(26 * time.Second); time.Now().Before(end); {
		read()
	}
	assert.Equal(t, opened, dials.Load(), "connections that were opened, at first and after sessions had ended three times")
	f.end(t)
	m.stop()
}
