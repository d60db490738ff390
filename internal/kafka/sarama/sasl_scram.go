package sarama

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/millstream-go/millstream/internal/quote"
)

const (
	// minIterations and maxIterations are how often a server may have the password hashed. Fewer
	// rounds than RFC 7677 demands would make the password easy to guess for a false server; a broker
	// of Kafka takes 4,096 at least. The upper bound takes about a second: without one a server could
	// keep the client busy for an hour.
	minIterations = 4096
	maxIterations = 1_000_000
	// maxScramMessage bounds a server's message, which the library's errors quote.
	maxScramMessage = 4096
)

// scramLogin is the client side of SCRAM (RFC 5802) as Sarama wants it: Begin once, then Step until
// Done. Users and passwords are not prepared by SASLprep: Kafka hashes their UTF-8 as it is, so a
// password with "é" in its decomposed form would be refused.
type scramLogin struct {
	hash         scram.HashGeneratorFcn
	conversation *scram.ClientConversation
	nonce        func() string // nil but for tests: the library's, 24 random bytes
	clientFirst  string        // our first message
	steps        int
}

func newScram(mechanism string) *scramLogin {
	if mechanism == SCRAM512 {
		return &scramLogin{hash: scram.SHA512}
	}
	return &scramLogin{hash: scram.SHA256}
}

// Begin prepares for one exchange.
func (s *scramLogin) Begin(user, password, authzID string) error {
	c, err := s.hash.NewClientUnprepped(user, password, authzID)
	if err != nil {
		return &scramError{err}
	}
	if s.nonce != nil {
		c.WithNonceGenerator(s.nonce)
	}
	s.conversation, s.steps = c.WithMinIterations(minIterations).NewConversation(), 0
	return nil
}

// Done reports whether the exchange has ended. It has without an error only when the server has
// proven that it knows the password too.
func (s *scramLogin) Done() bool { return s.conversation.Done() }

// Step answers a message of the server.
func (s *scramLogin) Step(challenge string) (answer string, err error) {
	s.steps++
	switch {
	case len(challenge) > maxScramMessage:
		err = fmt.Errorf("the server's message has %d bytes", len(challenge))
	case s.steps == 2: // before the library does what it asks for
		err = s.checkServerFirst(challenge)
	}
	if err == nil {
		answer, err = s.conversation.Step(challenge)
	}
	if err != nil {
		return "", &scramError{err}
	}
	if s.steps == 1 {
		s.clientFirst = answer
	}
	return answer, nil
}

// checkServerFirst refuses a first message of the server that no honest server would send:
// "r=<nonce>,s=<salt>,i=<iterations>".
func (s *scramLogin) checkServerFirst(serverFirst string) error {
	nonce, _, _ := strings.Cut(serverFirst, ",")
	if _, ours, _ := strings.Cut(s.clientFirst, ",r="); strings.TrimPrefix(nonce, "r=") == ours {
		return fmt.Errorf("the server did not extend our nonce")
	}
	for field := range strings.SplitSeq(serverFirst, ",") {
		digits, ok := strings.CutPrefix(field, "i=")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(digits, 10, 64); err != nil || n < minIterations || n > maxIterations {
			return fmt.Errorf("the server asks for %.20s rounds of hashing: from %d to %d are accepted; "+
				"check what answers at this address, or set the user's iterations", digits, minIterations, maxIterations)
		}
	}
	return nil // without a count the library refuses it
}

// scramError is a server that does not follow SCRAM, or does not know the password.
type scramError struct{ err error }

func (e *scramError) Error() string {
	return "the SASL SCRAM exchange failed: " + quote.Text(e.err.Error())
}
func (e *scramError) Unwrap() error { return e.err }
