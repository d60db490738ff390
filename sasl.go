package millstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/millstream-go/millstream/internal/kafka/sarama"
)

// SASL mechanisms.
const (
	SASLPlain       = "PLAIN"
	SASLScram256    = "SCRAM-SHA-256"
	SASLScram512    = "SCRAM-SHA-512"
	SASLOAuthBearer = "OAUTHBEARER"
)

// SASL has the credentials of the App. Neither fmt nor slog nor encoding/json prints its secrets.
// Two cases are out of any type's reach. One is verbs that do not fit, which go vet refuses (%p and
// %w here, %s of a struct around it). The other is fields that are not exported, on which fmt calls
// no methods: let these be pointers, as that of Config is.
type SASL struct {
	// Mechanism is one of the SASL constants.
	Mechanism string
	// User and Password are for PLAIN and SCRAM.
	User, Password string
	// Token returns a token for OAUTHBEARER that is valid now. It is called for each connection that
	// is opened, so it should cache tokens until shortly before they expire.
	Token func(ctx context.Context) (Token, error)
}

// Token is a token for OAUTHBEARER. It is not printed either.
type Token struct {
	Value string
	// Extensions are sent with it. Defaults to none.
	Extensions map[string]string
}

// String names the mechanism and the user.
func (s SASL) String() string {
	if s.User == "" {
		return s.Mechanism
	}
	return fmt.Sprintf("%s as %q", s.Mechanism, s.User)
}

// Format prints what String returns, whatever the verb: %+v, %#v and %x would show the password.
func (s SASL) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue is String for slog.
func (s SASL) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String for encoders.
func (s SASL) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const hidden = "(a token)"

// String hides the token.
func (Token) String() string { return hidden }

// Format hides the token, whatever the verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue hides the token from slog.
func (Token) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the token from encoders.
func (Token) MarshalText() ([]byte, error) { return []byte(hidden), nil }

func (s *SASL) check() []error {
	if s == nil {
		return nil
	}
	var errs []error
	switch s.Mechanism {
	case SASLPlain, SASLScram256, SASLScram512:
		if s.User == "" {
			errs = append(errs, fmt.Errorf("Config.SASL.User is not set, which %s needs", s.Mechanism))
		}
		if s.Password == "" {
			errs = append(errs, fmt.Errorf("Config.SASL.Password is not set, which %s needs", s.Mechanism))
		}
	case SASLOAuthBearer:
		if s.Token == nil {
			errs = append(errs, errors.New("Config.SASL.Token is not set, which OAUTHBEARER needs"))
		}
	default:
		errs = append(errs, fmt.Errorf("Config.SASL.Mechanism is %q, not one of %s, %s, %s, %s",
			s.Mechanism, SASLPlain, SASLScram256, SASLScram512, SASLOAuthBearer))
	}
	return errs
}

// client converts s for the client. Calls of Token end with ctx.
func (s *SASL) client(ctx context.Context) sarama.SASL {
	if s == nil {
		return sarama.SASL{}
	}
	out := sarama.SASL{Mechanism: s.Mechanism, User: s.User, Password: sarama.Secret(s.Password)}
	if s.Token != nil {
		out.Token = func() (sarama.Token, error) {
			t, err := s.Token(ctx)
			return sarama.Token{Value: sarama.Secret(t.Value), Extensions: t.Extensions}, err
		}
	}
	return out
}
