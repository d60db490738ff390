package window_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/window"
)

func fuzz(f *testing.F, s serde.Serde[window.Key[string]]) {
	b, err := s.Append(nil, window.Key[string]{Key: "k", Start: time.UnixMilli(10), End: time.UnixMilli(20)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := s.Decode(b)
		if err != nil {
			return
		}
		again, err := s.Append([]byte{}, k)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%x is read as %v, which is written as %x: %v", b, k, again, err)
		}
	})
}

func FuzzTimeKey(f *testing.F) {
	fuzz(f, window.TimeKey(serde.String, window.Tumbling(10*time.Millisecond)))
}
func FuzzSessionKey(f *testing.F) { fuzz(f, window.SessionKey(serde.String)) }
