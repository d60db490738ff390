package sarama

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	ibm "github.com/IBM/sarama"
)

// Config is how to reach a cluster. All but Brokers have defaults.
type Config struct {
	// Brokers are addresses to begin with, host:port; at least one.
	Brokers []string
	// ClientID is what brokers log and what quotas go by. Defaults to "millstream".
	ClientID string
	// Rack is sent with fetches; brokers may name a replica there to read from. Defaults to none.
	Rack string
	// InstanceID makes the client a static member of its group (KIP-345). Defaults to none.
	InstanceID string
	// TLS switches encryption on. Defaults to none.
	TLS *tls.Config
	// SASL switches authentication on. Defaults to none.
	SASL SASL
	// Dialer opens connections. Defaults to a net.Dialer with keep-alive.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
	// MaxMessageBytes is the limit of a record in a topic whose own limit cannot be read. Defaults to
	// 1048588, Kafka's default.
	MaxMessageBytes int
	// Logger gets what is neither returned nor counted. Defaults to none.
	Logger *slog.Logger
	// DialTimeout bounds opening a connection, up to the broker's API versions. Defaults to 10s.
	DialTimeout time.Duration
	// RequestTimeout bounds a request, and the retries of one call of Admin, Offsets or Group.
	// Defaults to 30s.
	RequestTimeout time.Duration
	// RetryBackoff is the first wait before a retry; it doubles up to RetryMax. Defaults to 20ms.
	RetryBackoff time.Duration
	// RetryMax is the longest wait before a retry. Defaults to 1s.
	RetryMax time.Duration
	// UnknownTopicTimeout is how long a topic may be unknown to the brokers, as one that was just
	// created is, before that is an error. Defaults to 30s.
	UnknownTopicTimeout time.Duration
}

// SASL mechanisms.
const (
	PLAIN       = "PLAIN"
	SCRAM256    = "SCRAM-SHA-256"
	SCRAM512    = "SCRAM-SHA-512"
	OAUTHBEARER = "OAUTHBEARER"
)

// SASL is the login. Its Password and tokens are never printed, neither by fmt nor by slog.
type SASL struct {
	// Mechanism is PLAIN, SCRAM256, SCRAM512 or OAUTHBEARER. Defaults to none.
	Mechanism string
	User      string
	Password  Secret
	// Token returns a token for OAUTHBEARER that is valid now. It is called for each connection and
	// must not block for long.
	Token func() (Token, error)
}

// Token is an OAUTHBEARER token with its extensions.
type Token struct {
	Value      Secret
	Extensions map[string]string
}

// Secret is a string that does not print itself.
type Secret string

const redacted = "REDACTED"

// String returns a placeholder, or nothing when s is empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String in quotes.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format prints the placeholder under every verb; without it %x and %q would show the bytes.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue is String for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String names the mechanism and the user.
func (s SASL) String() string {
	if s.Mechanism == "" {
		return "none"
	}
	return fmt.Sprintf("%s as %q", s.Mechanism, s.User)
}

// GoString is String.
func (s SASL) GoString() string { return s.String() }

// LogValue is String for slog.
func (s SASL) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (c *Config) fill() error {
	defaultTo(&c.ClientID, "millstream")
	defaultTo(&c.MaxMessageBytes, 1048588)
	defaultTo(&c.DialTimeout, 10*time.Second)
	defaultTo(&c.RequestTimeout, 30*time.Second)
	defaultTo(&c.RetryBackoff, 20*time.Millisecond)
	defaultTo(&c.RetryMax, time.Second)
	defaultTo(&c.UnknownTopicTimeout, 30*time.Second)
	if c.Dialer == nil {
		c.Dialer = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(c.checkBrokers(), c.SASL.check())
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) checkBrokers() error {
	if len(c.Brokers) == 0 {
		return errors.New("kafka: no brokers given")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return fmt.Errorf("kafka: broker address %q: %w", b, err)
		}
	}
	return nil
}

func (s SASL) check() error {
	switch s.Mechanism {
	case "":
		return nil
	case PLAIN, SCRAM256, SCRAM512:
		if s.User == "" || s.Password == "" {
			return fmt.Errorf("kafka: SASL %s needs a user and a password", s.Mechanism)
		}
		return nil
	case OAUTHBEARER:
		if s.Token == nil {
			return errors.New("kafka: SASL OAUTHBEARER needs a Token function")
		}
		return nil
	}
	return fmt.Errorf("kafka: SASL mechanism %q is not one of %s, %s, %s, %s",
		s.Mechanism, PLAIN, SCRAM256, SCRAM512, OAUTHBEARER)
}

// ibmConfig returns the Sarama configuration that all connections share but for their dialer and
// read timeout.
func (c *Config) ibmConfig() *ibm.Config {
	conf := ibm.NewConfig()
	// The newest version that Sarama knows. It is only a bound of the requests that may be made: the
	// version of each is negotiated per connection (conn.version). Sarama's own negotiation is off
	// because it would hold the Broker's mutex (invariant 1).
	conf.Version = ibm.MaxVersion
	conf.ApiVersionsRequest = false
	conf.ClientID = c.ClientID
	conf.RackID = c.Rack
	conf.MetricRegistry = noopMetrics{}
	conf.Net.MaxOpenRequests = maxInFlight
	conf.Net.WriteTimeout = c.RequestTimeout
	conf.Net.Proxy.Enable = true // for dialedConn
	c.SASL.applyTo(conf)
	return conf
}

func (s SASL) applyTo(conf *ibm.Config) {
	if s.Mechanism == "" {
		return
	}
	login := &conf.Net.SASL
	login.Enable, login.Handshake, login.Version = true, true, ibm.SASLHandshakeV1
	login.Mechanism = ibm.SASLMechanism(s.Mechanism)
	login.User, login.Password = s.User, string(s.Password)
	login.TokenProvider = tokenSource(s.Token)
	login.SCRAMClientGeneratorFunc = func() ibm.SCRAMClient { return newScram(s.Mechanism) }
}

// tokenSource is SASL.Token as Sarama wants it.
type tokenSource func() (Token, error)

// tokenError is an error of Token.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "SASL token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// Token is what Sarama calls.
func (t tokenSource) Token() (*ibm.AccessToken, error) {
	token, err := t()
	if err != nil {
		return nil, &tokenError{err}
	}
	return &ibm.AccessToken{Token: string(token.Value), Extensions: token.Extensions}, nil
}
