package sarama

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

// logLines is a log whose lines can be counted.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// of returns the lines of a level.
func (l *logLines) of(level string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, "level="+level) {
			out = append(out, strings.NewReplacer(`\\\"`, `"`, `\"`, `"`).Replace(strings.TrimSpace(line)))
		}
	}
	return out
}

func (l *logLines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// serving returns a dialer to a server in memory.
func serving(serve func(net.Conn)) dialer {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			serve(theirs)
		}()
		return ours, nil
	}
}

func failing(err error) dialer {
	return func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
}

// readSome reads one request, or what is there of it.
func readSome(c net.Conn) { _, _ = c.Read(make([]byte, 1<<12)) }

func blocking(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// certificate returns what a TLS server serves, and who trusts it.
func certificate(t *testing.T) (server, trusting *tls.Config) {
	s := httptest.NewUnstartedServer(nil)
	s.EnableHTTP2 = false
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: pool, ServerName: "example.com"}
}

// Whatever keeps all brokers from answering is logged once, within two seconds, with addresses and
// cause; Healthy says the same; and so is their return. What is tried again meanwhile logs nothing.
func TestReachability_NoBrokerAnswers(t *testing.T) {
	server, trusting := certificate(t)
	over := func(serve func(net.Conn)) dialer { // TLS
		return serving(func(c net.Conn) { serve(tls.Server(c, server)) })
	}
	closing := readSome
	http := func(c net.Conn) {
		readSome(c)
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	}
	silent := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for _, tt := range []struct {
		name string
		dial dialer
		tls  *tls.Config
		want []string
	}{
		{"nothing listens", failing(syscall.ECONNREFUSED), nil, []string{"connection refused", "check that the broker runs"}},
		{"no such name", failing(&net.DNSError{Err: "no such host", Name: "kafka-1"}), nil, []string{`the name "kafka-1" cannot be resolved`, "no such host"}},
		{"no route", failing(syscall.EHOSTUNREACH), nil, []string{"no route to the host"}},
		{"packets are dropped", blocking, nil, []string{"no answer to the connection attempt", "firewall"}},
		{"plain text to TLS, with an alert", serving(func(c net.Conn) {
			readSome(c)
			_, _ = c.Write([]byte{21, 3, 1, 0, 2, 2, 10})
		}), nil, []string{"this port speaks TLS, but Config.TLS is not set"}},
		{"plain text to TLS", serving(func(c net.Conn) { _ = tls.Server(c, server).Handshake() }), nil, []string{"speaks TLS", "Config.TLS is not set"}},
		{"plain text to TLS, closed without an answer", serving(closing), nil, []string{"closed at the first request", "whether this port speaks TLS"}},
		{"TLS to plain text", serving(closing), trusting, []string{"closed during the TLS handshake", "check whether this port speaks TLS"}},
		{"TLS to plain text that answers", serving(http), trusting, []string{"Config.TLS is set, but this port speaks plain text", "HTTP/"}},
		{"TLS to what says nothing", serving(silent), trusting, []string{"no answer to the TLS handshake"}},
		{"HTTP", serving(http), nil, []string{"not a Kafka broker", "HTTP", "check the port"}},
		{"HTTP over TLS", over(http), trusting, []string{"not a Kafka broker", "HTTP"}},
		{"SSH", serving(func(c net.Conn) { readSome(c); _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n") }), nil,
			[]string{"not a Kafka broker", `begins with "SSH-2.0-OpenSSH_"`}},
		{"a long answer that does not come", serving(func(c net.Conn) { readSome(c); _, _ = c.Write([]byte{5, 0, 0, 0}); silent(c) }), nil,
			[]string{"not a Kafka broker", "its answer begins with"}},
		{"an endless answer", serving(func(c net.Conn) {
			readSome(c)
			for b := bytes.Repeat([]byte{0x7f}, 1<<16); ; {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}), nil, []string{"not a Kafka broker", "its answer begins with"}},
		{"what says nothing", serving(silent), nil, []string{"the first request is not answered"}},
		{"what closes over TLS", over(closing), trusting, []string{"closed at the first request", "Kafka broker"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				var log logLines
				var mu sync.Mutex
				broken := true
				c := w.newClient(func(cfg *Config) {
					cfg.TLS, cfg.Logger = tt.tls, log.logger()
					cfg.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
						mu.Lock()
						defer mu.Unlock()
						if broken {
							mu.Unlock()
							defer mu.Lock()
							return tt.dial(ctx, network, address)
						}
						conn, err := w.virtual.DialContext(ctx, network, address)
						if tt.tls != nil && err == nil { // the broker behind a proxy that ends TLS
							return terminate(conn, server), nil
						}
						return conn, err
					}
				})
				defer c.Close()
				a, err := c.Admin()
				require.NoError(t, err)
				defer a.Close()
				topics := make(chan error, 1)
				go func() {
					var err error
					for range 3 {
						if _, err = a.Topics(ctx, "t"); err == nil {
							break
						}
					}
					topics <- err
				}()
				time.Sleep(downAfter - time.Millisecond)
				synctest.Wait()
				assert.Empty(t, log.of("WARN"), "a moment is no reason to warn")
				require.NoError(t, c.Healthy())
				time.Sleep(time.Second / 4)
				synctest.Wait()
				warned := log.of("WARN")
				require.Len(t, warned, 1)
				require.ErrorIs(t, c.Healthy(), kafka.ErrUnavailable)
				for _, want := range append(tt.want, "localhost:9092, localhost:9093, localhost:9094: ") {
					assert.Contains(t, warned[0], want)
					assert.Contains(t, c.Healthy().Error(), want)
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				assert.Len(t, log.of("WARN"), 1)
				mu.Lock()
				broken = false
				mu.Unlock()
				time.Sleep(12 * time.Second) // an attempt under way may take 10s
				require.NoError(t, <-topics)
				require.NoError(t, c.Healthy())
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.Len(t, log.of("WARN"), 1)
				back := log.of("INFO")
				require.Len(t, back, 1)
				assert.Contains(t, back[0], "brokers answer again")
			})
		})
	}
}

// terminate returns the client's side of a TLS connection whose other end goes on to conn in plain
// text.
func terminate(conn net.Conn, server *tls.Config) net.Conn {
	ours, theirs := net.Pipe()
	secure := tls.Server(theirs, server)
	go func() {
		_, _ = io.Copy(conn, secure)
		_ = conn.Close()
	}()
	go func() {
		_, _ = io.Copy(secure, conn)
		_ = secure.Close()
	}()
	return ours
}

// While it runs, too: one warning within two seconds of the loss of all brokers, whether the client
// is busy, idle, or waits for a join, and none while one of them answers.
func TestReachability_BrokersStopAnswering(t *testing.T) {
	for name, use := range map[string]func(context.Context, *world, *Client) func(){
		"fetching": func(_ context.Context, w *world, c *Client) func() {
			f, err := c.Fetcher(kafka.FetchConfig{})
			require.NoError(w.t, err)
			s := collect(f)
			for p := range int32(3) {
				f.Add(tp(p), 0, s)
			}
			return f.Close
		},
		"idle": func(ctx context.Context, w *world, c *Client) func() {
			a, err := c.Admin()
			require.NoError(w.t, err)
			_, err = a.Topics(ctx)
			require.NoError(w.t, err)
			return a.Close
		},
	} {
		for how, lose := range map[string]func(*network, bool){
			"refused": func(n *network, away bool) {
				n.setRefuse(away)
				if away {
					n.cut(func() bool { return true })
				}
			},
			"frozen": func(n *network, away bool) {
				if away {
					n.freeze()
				} else {
					n.thaw()
				}
			},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				simulate(t, func(ctx context.Context, w *world) {
					var log logLines
					n := newNetwork(w.virtual)
					c := w.newClient(func(cfg *Config) { cfg.Dialer, cfg.Logger = n.dial, log.logger() })
					defer c.Close()
					defer use(ctx, w, c)()
					time.Sleep(time.Minute)
					for range 2 {
						lose(n, true)
						time.Sleep(2 * time.Second)
						synctest.Wait()
						require.Len(t, log.of("WARN"), 1)
						require.Error(t, c.Healthy())
						time.Sleep(10 * time.Second)
						lose(n, false)
						time.Sleep(3 * time.Second)
						synctest.Wait()
						require.NoError(t, c.Healthy())
						assert.Len(t, log.of("WARN"), 1)
						assert.Len(t, log.of("INFO"), 1)
						log.mu.Lock()
						log.b.Reset()
						log.mu.Unlock()
					}
				})
			})
		}
	}
}

// A client without work asks its brokers now and then whether they are there, and never for all
// topics of the cluster.
func TestReachability_IdleClientAsksForNoOtherTopics(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		n := newNetwork(w.virtual)
		c := w.newClient(func(cfg *Config) { cfg.Dialer = n.dial })
		defer c.Close()
		a, err := c.Admin()
		require.NoError(w.t, err)
		_, err = a.Topics(ctx, "t")
		require.NoError(w.t, err)
		defer a.Close()
		asked, all := 0, 0
		w.cluster.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			asked++
			if len(r.(*kmsg.MetadataRequest).Topics) == 0 {
				all++
			}
			return nil, nil, false
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.NotZero(t, asked, "nobody was asked")
		assert.Zero(t, all)
	})
}

// In a rolling restart some broker always answers: nothing is worth a warning.
func TestReachability_RollingRestartDoesNotWarn(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		var log logLines
		n := newNetwork(w.virtual)
		c := w.newClient(func(cfg *Config) { cfg.Dialer, cfg.Logger = n.dial, log.logger() })
		defer c.Close()
		f, err := c.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		for p := range int32(3) {
			f.Add(tp(p), 0, s)
		}
		for _, addr := range []string{"localhost:9092", "localhost:9093", "localhost:9094"} {
			time.Sleep(10 * time.Second)
			n.refuseOnly(addr)
			time.Sleep(25 * time.Second)
			synctest.Wait()
			require.NoError(t, c.Healthy())
			n.refuseOnly("")
		}
		assert.Empty(t, log.of("WARN"))
		assert.Empty(t, log.of("INFO"))
	})
}

// A broker that the cluster lists for long and that cannot be reached from here is no restart:
// often its advertised address is wrong.
func TestReachability_OneBrokerStaysAway(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		var log logLines
		n := newNetwork(w.virtual)
		c := w.newClient(func(cfg *Config) { cfg.Dialer, cfg.Logger = n.dial, log.logger() })
		defer c.Close()
		f, err := c.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		n.refuseOnly("localhost:9093")
		for p := range int32(3) {
			f.Add(tp(p), 0, s)
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		warned := log.of("WARN")
		require.Len(t, warned, 1)
		assert.Contains(t, warned[0], "broker=localhost:9093")
		assert.Contains(t, warned[0], "advertised.listeners")
		assert.Contains(t, warned[0], "connection refused")
		require.NoError(t, c.Healthy(), "others answer")
		require.Error(t, f.Healthy())
		n.refuseOnly("")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Len(t, log.of("INFO"), 1)
		assert.Contains(t, log.of("INFO")[0], "a broker answers again")
		require.NoError(t, f.Healthy())
	})
}

// What a login comes to, at the start and when it is refused later.
func TestReachability_RefusedLogin(t *testing.T) {
	sasl := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(SCRAM256, "alice", "right"), kfake.Superuser(PLAIN, "alice", "right")}
	for _, tt := range []struct {
		name string
		sasl SASL
		opts []kfake.Opt
		want string
		is   error
	}{
		{"wrong password", SASL{Mechanism: PLAIN, User: "alice", Password: "swordfish"}, sasl, `refused the login by SASL PLAIN as "alice"`, kafka.ErrCredentials},
		{"unknown user", SASL{Mechanism: SCRAM256, User: "bob", Password: "swordfish"}, sasl, `refused the login by SASL SCRAM-SHA-256 as "bob"`, kafka.ErrCredentials},
		{"no login where one is wanted", SASL{}, sasl, "as a port that requires a login does", kafka.ErrUnavailable},
		{"a mechanism that is not enabled", SASL{Mechanism: OAUTHBEARER, Token: func() (Token, error) { return Token{Value: "swordfish"}, nil }}, sasl,
			"does not offer the SASL mechanism OAUTHBEARER", kafka.ErrCredentials},
		{"no token", SASL{Mechanism: OAUTHBEARER, Token: func() (Token, error) { return Token{}, errors.New("the identity provider is away") }}, sasl,
			"Config.SASL.Token failed: the identity provider is away", kafka.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				w.deny(tt.sasl.Mechanism == OAUTHBEARER && tt.is == kafka.ErrUnavailable)
				var log logLines
				c := w.newClient(func(cfg *Config) { cfg.SASL, cfg.Logger = tt.sasl, log.logger() })
				defer c.Close()
				a, err := c.Admin()
				require.NoError(t, err)
				defer a.Close()
				began := time.Now()
				_, err = a.Topics(ctx, "t")
				require.ErrorIs(t, err, tt.is)
				require.ErrorContains(t, err, tt.want)
				if tt.is == kafka.ErrCredentials {
					assert.Less(t, time.Since(began), time.Second)
				}
				time.Sleep(2 * time.Second)
				warned := log.of("WARN")
				require.Len(t, warned, 1)
				assert.Contains(t, warned[0], tt.want)
				require.ErrorContains(t, c.Healthy(), tt.want)
				assert.NotContains(t, err.Error()+warned[0], "swordfish")
			}, append(tt.opts, kfake.NumBrokers(3))...)
		})
	}
}

// deny has brokers answer all logins as Kafka does when the password is wrong; kfake closes the
// connection. With any they offer any mechanism.
func (w *world) deny(any bool) {
	w.cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr("invalid credentials")
		return resp, nil, true
	})
	if !any {
		return
	}
	w.cluster.ControlKey(int16(kmsg.SASLHandshake), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		return r.ResponseKind(), nil, true
	})
}
