package sarama

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/xdg-go/scram"
)

// loginWith returns a login whose nonce is known, and its first message.
func loginWith(t testing.TB, mechanism, nonce, user, password string) (*scramLogin, string) {
	s := newScram(mechanism)
	if nonce != "" {
		s.nonce = func() string { return nonce }
	}
	require.NoError(t, s.Begin(user, password, ""))
	first, err := s.Step("")
	require.NoError(t, err)
	return s, first
}

// The exchange of RFC 7677, section 3.
func TestScram_RFC7677(t *testing.T) {
	s, first := loginWith(t, SCRAM256, "rOprNGfwEbeRWgbNEkqO", "user", "pencil")
	assert.Equal(t, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", first)
	proof, err := s.Step("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	require.NoError(t, err)
	assert.Equal(t, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", proof)
	assert.False(t, s.Done())
	_, err = s.Step("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
	require.NoError(t, err)
	assert.True(t, s.Done())
	_, err = s.Step("")
	require.Error(t, err)
}

func TestScram_RefusesFalseServer(t *testing.T) {
	for name, msg := range map[string]string{"another nonce": "r=other,s=W22Z,i=4096", "our nonce only": "r=n,s=W22Z,i=4096",
		"no salt": "r=nx,s=!,i=4096", "no rounds": "r=nx,s=W22Z", "an endless message": "r=nx,s=" + strings.Repeat("A", 1<<20) + ",i=4096"} {
		t.Run(name, func(t *testing.T) {
			s, first := loginWith(t, SCRAM512, "n", "u=,", "p")
			assert.Equal(t, "n,,n=u=3D=2C,r=n", first)
			_, err := s.Step(msg)
			require.Error(t, err)
			assert.Less(t, len(err.Error()), 1000)
			assert.True(t, isAuthError(err), "no retry cures it")
		})
	}
	for name, final := range map[string]string{"the password is not known to it": "v=AAAA", "invalid-proof": "e=invalid-proof",
		"a long error": "e=" + strings.Repeat("x", 1<<20), "an error of 4 KB": "e=" + strings.Repeat("x", 4000)} {
		s, first := loginWith(t, SCRAM512, "", "u", "p")
		_, nonce, _ := strings.Cut(first, ",r=")
		_, err := s.Step("r=" + nonce + "x,s=W22Z,i=4096")
		require.NoError(t, err)
		_, err = s.Step(final)
		require.Error(t, err, name)
		assert.Less(t, len(err.Error()), 1200, name)
	}
}

// A server chooses how often the password is hashed: once makes it easy to guess, and two thousand
// million times keep the client busy for an hour on each connection.
func TestScram_BoundsIterations(t *testing.T) {
	for _, count := range []string{"0", "1", "4095", "-4096", "1000001", "2000000000", "99999999999999999999999999", "4096x", ""} {
		t.Run(count, func(t *testing.T) {
			s, _ := loginWith(t, SCRAM256, "n", "u", "p")
			began := time.Now()
			_, err := s.Step("r=nx,s=W22Z,i=" + count)
			require.ErrorContains(t, err, "from 4096 to 1000000")
			assert.Less(t, time.Since(began), time.Second)
		})
	}
	for _, count := range []int{4096, 8192} {
		s, _ := loginWith(t, SCRAM256, "n", "u", "p")
		_, err := s.Step(fmt.Sprintf("r=nx,s=W22Z,i=%d", count))
		require.NoError(t, err)
	}
}

// FuzzScram lets a server say anything: no panic, no long work, and no success, since it does not
// know the password.
func FuzzScram(f *testing.F) {
	f.Add("r=nx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", true)
	f.Add("r=n%hvYDp,s=,i=1000000", "e=other-error", false)
	f.Add("m=ext,r=nx,s=W22Z,i=4096,i=1", "", true)
	f.Fuzz(func(t *testing.T, first, final string, sha512 bool) {
		mechanism := SCRAM256
		if sha512 {
			mechanism = SCRAM512
		}
		s, _ := loginWith(t, mechanism, "n", "user", "pencil")
		if _, err := s.Step(first); err != nil {
			require.True(t, isAuthError(err))
			return
		}
		assert.False(t, s.Done())
		_, err := s.Step(final)
		require.Error(t, err)
	})
}

// Passwords are hashed as the bytes that they are: SASLprep would turn the decomposed letters of
// the second one into others, and refuse the third.
func TestScram_HashesRawBytes(t *testing.T) {
	for _, password := range []string{"grün-パスワード", "cafe\u0301\u00a0x", "a\u0007b"} {
		for mechanism, hash := range map[string]scram.HashGeneratorFcn{SCRAM256: scram.SHA256, SCRAM512: scram.SHA512} {
			known, err := hash.NewClientUnprepped("jürgen", password, "")
			require.NoError(t, err)
			server, err := hash.NewServer(func(string) (scram.StoredCredentials, error) {
				return known.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
			})
			require.NoError(t, err)
			conversation := server.NewConversation()
			s, msg := loginWith(t, mechanism, "", "jürgen", password)
			for !s.Done() {
				challenge, err := conversation.Step(msg)
				require.NoError(t, err)
				msg, err = s.Step(challenge)
				require.NoError(t, err)
			}
			assert.True(t, conversation.Valid())
		}
	}
}
