package app_test

import (
	"context"
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

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// outage is a network on which addresses can be made to refuse connections.
type outage struct {
	dial broker.Dialer

	mu      sync.Mutex
	refused func(addr string) bool
	conns   map[net.Conn]string
}

func newOutage(b *broker.Broker) *outage {
	return &outage{dial: b.Dialer(), refused: func(string) bool { return false }, conns: map[net.Conn]string{}}
}

func (o *outage) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refused(addr) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	c, err := o.dial(ctx, network, addr)
	if err == nil {
		o.conns[c] = addr
	}
	return c, err
}

// begin breaks the connections to the addresses for which which says so, and refuses others.
func (o *outage) begin(which func(addr string) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = which
	for c, addr := range o.conns {
		if which(addr) {
			go c.Close()
			delete(o.conns, c)
		}
	}
}

func (o *outage) end() { o.begin(func(string) bool { return false }) }

func everybody(string) bool { return true }

// lines returns the lines of a level.
func lines(log *safeBuffer, level string) (out []string) {
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "level="+level) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// logged returns a configuration over o whose log goes to the buffer.
func logged(t *testing.T, b *broker.Broker, o *outage) (millstream.Config, *safeBuffer) {
	var log safeBuffer
	cfg := config(t, b)
	cfg.Dialer, cfg.Logger = o.Dial, slog.New(slog.NewTextHandler(&log, nil))
	return cfg, &log
}

// An App whose brokers are away says so within two seconds, once, and Ready with it: at the start, and when it loses them. It says so
// too when they are back.
func TestReachability_WarnsWhenBrokersAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Brokers(3), broker.Topic("in", 3), broker.Topic("out", 3))
		o := newOutage(b)
		o.begin(everybody)
		cfg, log := logged(t, b, o)
		m := start(t, upper(t), cfg)
		away := func(n int) {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			warned := lines(log, "WARN")
			require.Len(t, warned, n)
			assert.Contains(t, warned[n-1], "no broker answers")
			assert.Contains(t, warned[n-1], "application=app")
			assert.Contains(t, warned[n-1], strings.Join(b.Brokers(), ", ")+": connection refused")
			require.ErrorContains(t, m.Ready(), "no broker answers: "+strings.Join(b.Brokers(), ", ")+": connection refused")
			time.Sleep(time.Minute)
			synctest.Wait()
			assert.Len(t, lines(log, "WARN"), n)
		}
		back := func(n int) {
			o.end()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			require.NoError(t, m.Ready())
			notices := 0
			for _, line := range lines(log, "INFO") {
				if strings.Contains(line, "brokers answer again") {
					notices++
				}
			}
			assert.Equal(t, n, notices)
		}
		away(1)
		require.ErrorContains(t, m.Ready(), "starting")
		back(1)
		write(t, b, "in", 0, 100)
		await(t, b, "out", 100)
		o.begin(everybody)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.ErrorContains(t, m.Ready(), "no broker answers: "+strings.Join(b.Brokers(), ", ")+": connection refused")
		o.end()
		time.Sleep(5 * time.Second)
		write(t, b, "in", 100, 100)
		await(t, b, "out", 200)
		require.NoError(t, m.Ready())
		assert.Len(t, lines(log, "WARN"), 2)
		m.stop()
	})
}

// A rolling restart, in which each broker is away for a while, is no reason for a single warning, whatever the roles are doing then.
func TestReachability_IsSilentInRollingRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Brokers(3), broker.Topic("in", 3), broker.Topic("out", 3))
		o := newOutage(b)
		cfg, log := logged(t, b, o)
		m := start(t, upper(t), cfg)
		time.Sleep(5 * time.Second)
		require.NoError(t, m.Ready())
		n := 0
		for _, addr := range b.Brokers() {
			o.begin(func(a string) bool { return a == addr })
			second := cfg
			second.StateDir = t.TempDir()
			joins := start(t, upper(t), second) // at the coordinator, when that is the one which is away
			time.Sleep(6 * time.Second)         // less than the session: nobody is dropped
			o.end()
			time.Sleep(10 * time.Second) // a sync that the next rebalance has ended is joined again after five at most
			require.NoError(t, joins.Ready())
			joins.stop()
			write(t, b, "in", n, 100)
			n += 100
			await(t, b, "out", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, lines(log, "WARN"))
		assert.Empty(t, lines(log, "ERROR"))
		m.stop()
	})
}

func TestReachability_AppGoesOnWhenBrokersAreBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := broker.Start(t, broker.Virtual(), broker.DataDir(dir), broker.Topic("in", 2), broker.Topic("out", 2))
		m := start(t, upper(t), config(t, b))
		write(t, b, "in", 0, 100)
		await(t, b, "out", 100)
		time.Sleep(time.Second)
		require.NoError(t, m.Ready())
		rec := httptest.NewRecorder()
		m.ReadyHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
		assert.Equal(t, 200, rec.Code)
		b.Cluster().Close()
		time.Sleep(30 * time.Second)
		require.Error(t, m.Ready())
		require.NoError(t, m.Live())
		rec = httptest.NewRecorder()
		m.ReadyHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
		assert.Equal(t, 503, rec.Code)
		require.NoError(t, b.Restart())
		time.Sleep(30 * time.Second)
		require.NoError(t, m.Ready())
		write(t, b, "in", 100, 100)
		time.Sleep(10 * time.Second)
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, rs, 200)
		assert.Len(t, values(rs), 200)
		m.stop()
	})
}
