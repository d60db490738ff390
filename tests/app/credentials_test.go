package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// deny has a broker answer all logins as Kafka does when the password is wrong.
func deny(b *broker.Broker) {
	b.Cluster().ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr("invalid credentials")
		return resp, nil, true
	})
}

// Wrong credentials are not a broker that is away: waiting would not help, and saying nothing even less.
func TestCredentials_WrongPasswordEndsRun(t *testing.T) {
	for _, mechanism := range []string{millstream.SASLPlain, millstream.SASLScram256, millstream.SASLScram512} {
		t.Run(mechanism, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Kfake(kfake.EnableSASL(), kfake.Superuser(mechanism, "alice", "right")))
				deny(b)
				cfg := config(t, b)
				cfg.SASL = &millstream.SASL{Mechanism: mechanism, User: "alice", Password: "swordfish"}
				err := <-start(t, upper(t), cfg).done
				require.ErrorContains(t, err, "no connection with these TLS and SASL settings")
				assert.ErrorContains(t, err, "invalid credentials")
				assert.NotContains(t, err.Error(), "swordfish")
			})
		})
	}
}

// So is a certificate that nobody vouches for.
func TestCredentials_WrongCertificateEndsRun(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	b := broker.Start(t, broker.Kfake(kfake.TLS(s.TLS)))
	cfg := config(t, b)
	cfg.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	err := <-start(t, upper(t), cfg).done
	require.ErrorContains(t, err, "no connection with these TLS and SASL settings")
	assert.ErrorContains(t, err, "certificate")
}
