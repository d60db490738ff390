package sarama

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// notLetIn says what follows from a connection that could not be opened. Settings of TLS and SASL that no broker has ever accepted are a
// mistake. Those that one has accepted are worth further attempts: tokens and certificates are renewed, and a broker that has
// just started may not know its users yet.
func (c *Client) notLetIn(addr string, err error) error {
	if !refused(err) {
		if k, ok := code(err); ok {
			return fmt.Errorf("kafka: broker %s: %w", addr, failure(k))
		}
		return &unavailable{addr, err}
	}
	if c.letIn.Load() {
		return &unavailable{addr, err}
	}
	return &credentials{addr, err}
}

// refused says that both sides were there and did not agree on TLS or SASL.
func refused(err error) bool {
	var cert *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var op *net.OpError
	return errors.Is(err, sarama.ErrSASLAuthenticationFailed) || errors.Is(err, sarama.ErrUnsupportedSASLMechanism) ||
		errors.Is(err, sarama.ErrIllegalSASLState) || errors.As(err, &cert) || errors.As(err, &header) ||
		errors.As(err, &op) && op.Op == "remote error" // an alert of TLS
}

// credentials is kafka.ErrCredentials.
type credentials struct {
	addr string
	err  error
}

func (e *credentials) Error() string {
	return fmt.Sprintf("kafka: broker %s: no connection with these TLS and SASL settings: %v", e.addr, e.err)
}
func (e *credentials) Unwrap() error        { return e.err }
func (e *credentials) Is(target error) bool { return target == kafka.ErrCredentials }
