// Package quote truncates the keys, values and texts of users that errors and logs quote. They may be
// large, and secret.
package quote

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxKey is the number of bytes of a key that are quoted: enough to recognise it.
const maxKey = 64

// maxSerdeText is the longest text of a serde's error. Errors of encoding/json and strconv quote their
// input.
const maxSerdeText = 512

// maxUserText is the longest text of the error of a user's function, which may quote the record.
const maxUserText = 1024

// Key returns b in quotes. A long key is truncated and its length added.
func Key[B ~[]byte | ~string](b B) string {
	if len(b) <= maxKey {
		return fmt.Sprintf("%q", string(b))
	}
	return fmt.Sprintf("%q... of %d bytes", string(b[:maxKey]), len(b))
}

// Hex is Key in hexadecimal digits, for keys that begin with numbers.
func Hex(b []byte) string {
	if len(b) <= maxKey {
		return fmt.Sprintf("%x", b)
	}
	return fmt.Sprintf("%x... of %d bytes", b[:maxKey], len(b))
}

// Error returns err, with its text truncated if that is long. It wraps err.
func Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if len(text) <= maxSerdeText {
		return err
	}
	return &truncatedError{err, truncate(text, maxSerdeText)}
}

// Text truncates the text of a user's error, or of the value of a panic, if it is long.
func Text(text string) string { return truncate(text, maxUserText) }

// truncate returns the beginning of a text and its length. It does not end within a UTF-8 sequence.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	prefix := text[:limit]
	for !utf8.ValidString(prefix) && len(prefix) > limit-utf8.UTFMax {
		prefix = prefix[:len(prefix)-1]
	}
	return fmt.Sprintf("%s... of %d bytes", strings.ToValidUTF8(prefix, "?"), len(text))
}

type truncatedError struct {
	err  error
	text string
}

func (l *truncatedError) Error() string { return l.text }
func (l *truncatedError) Unwrap() error { return l.err }
