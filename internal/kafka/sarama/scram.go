package sarama

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// scram is the client side of RFC 5802 as Sarama wants it: Begin once, then Step until Done. Passwords are used as they are,
// which equals SASLprep for printable ASCII.
type scram struct {
	hash           func() hash.Hash
	user, password string
	nonce          string
	first          string // client-first-message-bare
	step           int
	serverSig      []byte
}

func newScram(mechanism string) *scram {
	if mechanism == SCRAM512 {
		return &scram{hash: sha512.New}
	}
	return &scram{hash: sha256.New}
}

// Begin prepares for one exchange.
func (s *scram) Begin(user, password, _ string) error {
	if s.nonce == "" {
		b := make([]byte, 24)
		if _, err := rand.Read(b); err != nil {
			return err
		}
		s.nonce = base64.RawStdEncoding.EncodeToString(b)
	}
	s.user, s.password, s.step = user, password, 0
	return nil
}

// Done says that the server has proven that it knows the password too.
func (s *scram) Done() bool { return s.step == 3 }

// Step answers a message of the server.
func (s *scram) Step(challenge string) (string, error) {
	s.step++
	switch s.step {
	case 1:
		name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s.user)
		s.first = "n=" + name + ",r=" + s.nonce
		return "n,," + s.first, nil
	case 2:
		return s.proof(challenge)
	case 3:
		return "", s.verify(challenge)
	}
	return "", errors.New("scram: message after the end")
}

func (s *scram) proof(serverFirst string) (string, error) {
	f := fields(serverFirst)
	salt, err := base64.StdEncoding.DecodeString(f["s"])
	if err != nil {
		return "", fmt.Errorf("scram: salt: %w", err)
	}
	rounds, err := strconv.Atoi(f["i"])
	if err != nil || rounds < 1 {
		return "", errors.New("scram: iteration count missing")
	}
	if !strings.HasPrefix(f["r"], s.nonce) || len(f["r"]) == len(s.nonce) {
		return "", errors.New("scram: the server did not extend our nonce")
	}
	salted, err := pbkdf2.Key(s.hash, s.password, salt, rounds, s.hash().Size())
	if err != nil {
		return "", fmt.Errorf("scram: %w", err)
	}
	final := "c=biws,r=" + f["r"]
	auth := s.first + "," + serverFirst + "," + final
	clientKey := s.mac(salted, "Client Key")
	h := s.hash()
	h.Write(clientKey)
	sig := s.mac(h.Sum(nil), auth)
	subtle.XORBytes(clientKey, clientKey, sig)
	s.serverSig = s.mac(s.mac(salted, "Server Key"), auth)
	return final + ",p=" + base64.StdEncoding.EncodeToString(clientKey), nil
}

func (s *scram) verify(serverFinal string) error {
	f := fields(serverFinal)
	if e, ok := f["e"]; ok {
		return fmt.Errorf("scram: server says %q", e)
	}
	sig, err := base64.StdEncoding.DecodeString(f["v"])
	if err != nil || !hmac.Equal(sig, s.serverSig) {
		return errors.New("scram: the server's signature is wrong")
	}
	return nil
}

func (s *scram) mac(key []byte, text string) []byte {
	m := hmac.New(s.hash, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// fields splits "a=x,b=y" of one-letter names.
func fields(msg string) map[string]string {
	f := map[string]string{}
	for part := range strings.SplitSeq(msg, ",") {
		if k, v, ok := strings.Cut(part, "="); ok {
			f[k] = v
		}
	}
	return f
}
