package sarama

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/quote"
)

// stage is how far a connection has come.
type stage int

const (
	connecting   stage = iota // DNS and TCP
	handshaking               // TLS handshake
	firstRequest              // the first request: SASL, or API versions
	requesting                // requests
)

// String names the stage, as "TLS handshake".
func (s stage) String() string {
	return [...]string{"connection attempt", "TLS handshake", "first request", "requests"}[s]
}

// unanswered returns what it means that the stage does not end.
func (s stage) unanswered() error {
	switch s {
	case connecting:
		return errors.New("no answer to the connection attempt: check that the host is up and that no firewall drops the " +
			"packets")
	case handshaking:
		return errors.New("no answer to the TLS handshake: check that this port speaks TLS (Config.TLS is set)")
	case firstRequest:
		return errors.New("the connection was accepted, but the first request is not answered: " +
			"this is not a Kafka broker, or the port speaks TLS and Config.TLS does not say so, or the broker hangs")
	}
	return errors.New("the broker has stopped answering: check whether it hangs, and the network")
}

// connectionError is why a broker cannot be talked to, in words for an operator. The address is not
// in it: many have the same.
type connectionError struct {
	text string
	err  error
}

func (e *connectionError) Error() string { return e.text }
func (e *connectionError) Unwrap() error { return e.err }

// explain returns what err means for a connection that has come to stage s.
func (c *Client) explain(cn *conn, s stage, err error) error {
	text := c.explanation(cn, s, err)
	if text == "" {
		return err
	}
	return &connectionError{text, err}
}

// explanation returns explain's text, or none where err says it well enough.
func (c *Client) explanation(cn *conn, reached stage, err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var token *tokenError
	var scram *scramError
	// The order matters: an error of DNS or of Config.SASL.Token may be a timeout as well.
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %q cannot be resolved (%s): check Config.Brokers, and the broker's advertised.listeners",
			dns.Name, dns.Err)
	case errors.As(err, &token):
		return fmt.Sprintf("Config.SASL.Token failed: %v", token.err)
	case errors.As(err, &scram):
		return scram.Error()
	case reached == connecting && isConnectionRefused(err):
		return "connection refused: nothing listens there; check that the broker runs, and the port"
	case reached == connecting && (errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)):
		return "no route to the host: check the address and the network"
	case isTimeout(err):
		return reached.unanswered().Error()
	case reached == connecting:
		return ""
	}
	if text := explainLogin(c, err); text != "" {
		return text
	}
	if text := explainTLS(err); text != "" {
		return text
	}
	if errors.As(err, &op) && op.Op == "remote error" { // an alert of TLS
		return fmt.Sprintf("the broker refused the TLS handshake (%v): "+
			"check whether it asks for a client certificate (Config.TLS), and which TLS versions it accepts", op.Err)
	}
	// What the other side said before it closed the connection tells more than that it was closed.
	if text := cn.foreignProtocol(); text != "" {
		return text
	}
	if isClosed(err) {
		return c.explainClosed(cn, reached)
	}
	return ""
}

// explainLogin is explanation for what a broker says to SASL.
func explainLogin(c *Client, err error) string {
	switch {
	case errors.Is(err, ibm.ErrSASLAuthenticationFailed):
		return fmt.Sprintf("the broker refused the login by SASL %s: check user and password, or token, in Config.SASL (%v)",
			c.cfg.SASL, quote.Error(err))
	case errors.Is(err, ibm.ErrUnsupportedSASLMechanism):
		return fmt.Sprintf("the broker does not offer the SASL mechanism %s on this port: "+
			"check Config.SASL.Mechanism and the broker's sasl.enabled.mechanisms", c.cfg.SASL.Mechanism)
	case errors.Is(err, ibm.ErrIllegalSASLState):
		return "the broker does not accept a SASL login on this port: check Config.SASL and the port"
	}
	return ""
}

// explainTLS is explanation for what this side does not accept of the broker's TLS.
func explainTLS(err error) string {
	var header tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	// The last covers those before it.
	switch {
	case errors.As(err, &header):
		return fmt.Sprintf("the answer to the TLS handshake is not TLS (it begins with %q): "+
			"Config.TLS is set, but this port speaks plain text; leave Config.TLS out, or use the port for TLS",
			header.RecordHeader[:])
	case errors.As(err, &host):
		return fmt.Sprintf("the broker's TLS certificate is for another name (%v): check Config.Brokers, or "+
			"Config.TLS.ServerName", host)
	case errors.As(err, &unknown):
		return fmt.Sprintf("the broker's TLS certificate is signed by an authority that is not trusted (%v): "+
			"add it to Config.TLS.RootCAs", unknown)
	case errors.As(err, &invalid):
		return fmt.Sprintf("the broker's TLS certificate is not valid (%v)", invalid)
	case errors.As(err, &cert):
		return fmt.Sprintf("the broker's TLS certificate was not accepted: %v", cert.Err)
	}
	return ""
}

// explainClosed returns what it may mean that the other side closed the connection at stage s,
// which gives no reason for it.
func (c *Client) explainClosed(cn *conn, s stage) string {
	switch {
	case cn.endpoint.lastAnswer.Load() > 0: // so the settings are right
		return "the broker closed the connection: it stops or restarts"
	case s == handshaking:
		return "the connection was closed during the TLS handshake, as a port for plain text does: " +
			"check whether this port speaks TLS (Config.TLS is set)"
	case s == firstRequest && c.cfg.SASL.Mechanism != "":
		return "the connection was closed during the SASL login: " +
			"check Config.SASL, that this is the port of a Kafka broker, and whether it speaks TLS (Config.TLS)"
	case s == firstRequest && c.cfg.TLS == nil:
		return "the connection was closed at the first request, as a port for TLS does when spoken to in plain text: " +
			"check whether this port speaks TLS (Config.TLS is not set), and that it is a Kafka broker"
	case s == firstRequest:
		return "the connection was closed at the first request: check that this is a Kafka broker"
	case c.cfg.SASL.Mechanism == "":
		return "the connection was closed at the first request after the API versions, as a port that requires a login " +
			"does: check Config.SASL, which is not set"
	}
	return "the broker closed the connection"
}

// isConnectionRefused reports whether nothing listens at an address. The number is Windows'
// WSAECONNREFUSED, which package syscall does not map.
func isConnectionRefused(err error) bool {
	var n syscall.Errno
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &n) && n == 10061
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, errNoAnswer) ||
		errors.As(err, &n) && n.Timeout()
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// firstBytesConn is a connection that remembers the first bytes that came: what is not a Kafka
// broker shows itself in them. Then it reads no further: Sarama would make room for as many bytes
// as the first four say, and wait for them.
type firstBytesConn struct {
	net.Conn
	first [16]byte
	n     int
}

// Read copies the first bytes that come. One goroutine reads at a time.
func (s *firstBytesConn) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.n < len(s.first) && n > 0 {
		s.n += copy(s.first[s.n:], b[:n])
		if s.n >= 4 && binary.BigEndian.Uint32(s.first[:]) > maxFirstResponse {
			return 0, errNotKafka
		}
	}
	return n, err
}

// maxFirstResponse is more than any first answer has: API versions, or the mechanisms of SASL.
const maxFirstResponse = 1 << 20

var errNotKafka = errors.New("the answer is not that of a Kafka broker")

// foreignProtocol returns what the other side is when the first bytes are no answer of Kafka, which
// begins with its length.
func (s *firstBytesConn) foreignProtocol() string {
	b := s.first[:s.n]
	switch {
	case len(b) < 4 || binary.BigEndian.Uint32(b) <= maxFirstResponse:
		return ""
	case (b[0] == 21 || b[0] == 22) && b[1] == 3: // an alert or a handshake of TLS
		return "this port speaks TLS, but Config.TLS is not set: set it, or use the port for plain text"
	case string(b[:4]) == "HTTP":
		return "this is not a Kafka broker: it answers in HTTP; check the port"
	}
	return fmt.Sprintf("this is not a Kafka broker: its answer begins with %q; check the port", b)
}

// foreignProtocol returns what the other side is, as long as it has not answered a request.
func (cn *conn) foreignProtocol() string {
	if cn.firstBytes == nil || cn.served.Load() {
		return ""
	}
	return cn.firstBytes.foreignProtocol()
}
