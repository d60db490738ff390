package operator_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/serde"
)

// FuzzUnmatched puts a row of any bytes among the records that wait for a partner. A flush says
// that it is none, or sends what it holds: in the order of time, and none before it is due.
func FuzzUnmatched(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x05\x01k"), []byte("\x01\x00\x00\x00\x01\x00\x00\x00\x02\x01v"), int64(20))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x05\x00k"), []byte("\x01\x00\x00\x00\x00"), int64(20))
	f.Add([]byte("\x80\x00\x00\x00\x00\x00\x00\x05\x01k"), []byte("\x01\x00\x00\x00\x01\x00\x00\x00\x02\x01v"), int64(math.MaxInt64))
	f.Add([]byte("short"), []byte{}, int64(0))
	f.Fuzz(func(t *testing.T, key, value []byte, now int64) {
		if now = max(now, 0); key == nil || len(key) > 1000 {
			return
		}
		rows := memtable.New(nil)
		defer func() { _ = rows.Close(false) }()
		require.NoError(t, rows.Put(key, append([]byte{}, value...), 1))
		k, err := codec.New(serde.Serde[string](serde.String), "s", true, nil)
		require.NoError(t, err)
		alone := func(v []byte) (string, error) { return string(v), nil }
		w := &operator.Unmatched[string, string]{
			Name: "waiting", Rows: rows, Key: k, Unpaired: [2]func([]byte) (string, error){alone, alone}, OpenFor: [2]int64{3, 9},
		}
		sent, last := 0, int64(0)
		err = operator.EmitClosed(w, now, func(k string, at int64, _ string) error {
			require.GreaterOrEqual(t, at, last)
			require.Less(t, at, now, "before it is due")
			require.True(t, bytes.HasSuffix(key, []byte(k)))
			last = at
			sent++
			return nil
		})
		_, _, kept, getErr := rows.Get(key)
		require.NoError(t, getErr)
		if err != nil {
			require.True(t, kept, "a row that cannot be read stays: %v", err)
			return
		}
		require.False(t, sent > 0 && kept, "what was sent is deleted")
	})
}

// FuzzSubscriptions puts a row of any bytes among the subscriptions of a foreign-key join, beside
// one of a key. Nobody else's row is taken for a subscription to that key, and the one that is
// there is found.
func FuzzSubscriptions(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01fk1"), []byte("value"), "f", []byte("k"))
	f.Add([]byte("\x00\x00\x00\x02ffk"), []byte{}, "f", []byte{})
	f.Add([]byte{}, []byte{}, "", []byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, key, value []byte, fk string, left []byte) {
		if key == nil || len(key) > 1000 || len(fk) > 1000 || len(left) > 1000 {
			return
		}
		s := subscriptions(t)
		defer func() { _ = s.Store.(*memtable.Engine).Close(false) }()
		require.NoError(t, s.Store.Put(key, append([]byte{}, value...), 1))
		require.NoError(t, s.Apply(fk, kswire.Subscription{Instruction: kswire.SubscribeAndRespond, Key: left}, 1))
		found := 0
		err := s.Of(fk, func(m kswire.Subscription) error {
			if bytes.Equal(m.Key, left) {
				found++
			}
			return nil
		})
		own := append([]byte{byte(len(fk) >> 24), byte(len(fk) >> 16), byte(len(fk) >> 8), byte(len(fk))}, fk...)
		if !bytes.HasPrefix(key, own) || bytes.Equal(key, append(own, left...)) {
			require.NoError(t, err, "the other row is none of this key's")
			require.Equal(t, 1, found)
		}
		require.NoError(t, s.Apply(fk, kswire.Subscription{Instruction: kswire.Unsubscribe, Key: left}, 2))
		_, _, still, err := s.Store.Get(append(own, left...))
		require.NoError(t, err)
		require.False(t, still)
	})
}
