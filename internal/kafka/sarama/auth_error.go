package sarama

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// connectError returns what err, by which a connection could not be opened, is to a role. denied is
// what isAuthError reports of the error as it came.
//
// A port that speaks plain text where TLS is expected, or the other way round, is not a mistake of
// the settings: what answers there may be a proxy whose broker is about to start. It is tried
// again, and the log says so.
func (c *Client) connectError(addr string, err error, denied bool) error {
	if !denied {
		if k, ok := codeOf(err); ok {
			return fmt.Errorf("kafka: broker %s: %w", addr, codeError(k))
		}
		return &unavailableError{addr, err}
	}
	// Settings that a broker has accepted are worth further attempts: tokens and certificates are
	// renewed, and a broker that has just started may not know its users yet. Those that none has ever
	// accepted are a mistake.
	if c.loginAccepted.Load() {
		return &unavailableError{addr, err}
	}
	return &credentialsError{addr, err}
}

// isAuthError reports whether both sides were there and did not agree on TLS or SASL.
func isAuthError(err error) bool {
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	return errors.Is(err, ibm.ErrSASLAuthenticationFailed) || errors.Is(err, ibm.ErrUnsupportedSASLMechanism) ||
		errors.Is(err, ibm.ErrIllegalSASLState) || errors.As(err, &cert) ||
		errors.As(err, &op) && op.Op == "remote error" || // an alert of TLS
		errors.As(err, new(*scramError))
}

// credentialsError is kafka.ErrCredentials.
type credentialsError struct {
	addr string
	err  error
}

func (e *credentialsError) Error() string {
	return fmt.Sprintf("kafka: broker %s: no connection with these TLS and SASL settings: %v", e.addr, e.err)
}
func (e *credentialsError) Unwrap() error        { return e.err }
func (e *credentialsError) Is(target error) bool { return target == kafka.ErrCredentials }
