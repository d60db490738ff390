package buffer_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/buffer"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/topology"
)

// The rows are those of Kafka's TimeOrderedKeyValueBufferTest, captured there from Kafka Streams
// 2.4. It wrote -1 for no headers, later versions write 0: before is the prefix up to that number,
// after what follows.
var golden = []struct {
	before, after string
	due           int64
	v             buffer.Value
}{
	{"0000000000000000000000000000000000000005746F70696300000000", "FFFFFFFFFFFFFFFF00000006646F6F6D65640000000000000000", 0,
		buffer.Value{New: []byte("doomed"), Source: topology.Source{Topic: "topic"}}},
	{"0000000000000001000000000000000000000005746F70696300000000", "FFFFFFFFFFFFFFFF00000004717765720000000000000002", 2,
		buffer.Value{New: []byte("qwer"), Time: 1, Source: topology.Source{Topic: "topic"}}},
	{"0000000000000002000000000000000000000005746F70696300000000", "0000000870726576696F75730000000749474E4F52454400000005336F34696D0000000000000001", 1,
		buffer.Value{Prior: []byte("previous"), Old: []byte("IGNORED"), New: []byte("3o4im"), Time: 2, Source: topology.Source{Topic: "topic"}}},
	{"0000000000000003000000000000000000000005746F70696300000000", "0000000870726576696F757300000005336F34696D000000046E6578740000000000000001", 1,
		buffer.Value{Prior: []byte("previous"), Old: []byte("3o4im"), New: []byte("next"), Time: 3, Source: topology.Source{Topic: "topic"}}},
	// As ProcessorRecordContext.serialize and BufferValue.serialize have headers, a null one, and
	// an old value that is the prior one.
	{"00000000000000070000000000000009" + "00000002696E" + "00000003", "0000000141FFFFFFFEFFFFFFFF0000000000000007", 7,
		buffer.Value{Prior: []byte("A"), Old: []byte("A"), Time: 7, Source: topology.Source{Topic: "in", Offset: 9, Partition: 3},
			Headers: topology.Headers{{Name: "h", Value: []byte("1")}, {Name: "n"}, {Name: "e", Value: []byte{}}}}},
}

const someHeaders = "00000003" + "0000000168" + "0000000131" + "000000016E" + "FFFFFFFF" + "0000000165" + "00000000"

func TestValue_BytesAreThoseOfKafkaStreams(t *testing.T) {
	for i, g := range golden {
		headers := "00000000"
		if g.v.Headers != nil {
			headers = someHeaders
		}
		want, err := hex.DecodeString(g.before + headers + g.after)
		require.NoError(t, err)
		assert.Equal(t, want, g.v.Append(nil, g.due), "row %d", i)
		var got buffer.Value
		due, err := got.Parse(want)
		require.NoError(t, err)
		assert.Equal(t, g.due, due)
		assert.Equal(t, g.v, got, "row %d", i)
		if g.v.Headers == nil {
			old, _ := hex.DecodeString(g.before + "FFFFFFFF" + g.after)
			_, err := got.Parse(old)
			require.NoError(t, err)
			assert.Equal(t, g.v, got, "row %d of 2.4", i)
		}
	}
}

func TestValue_RefusesTruncatedRows(t *testing.T) {
	whole := golden[4].v.Append(nil, 7)
	var v buffer.Value
	for n := range whole {
		_, err := v.Parse(whole[:n])
		require.Error(t, err, "%d bytes", n)
	}
	_, err := v.Parse(append(whole, 0))
	require.Error(t, err, "a byte too many")
}

func rows(t *testing.T) storage.Engine {
	e := memtable.New(memtable.NewBudget(1 << 20))
	t.Cleanup(func() { assert.NoError(t, e.Close(false)) })
	return e
}

// The sizes are those of TimeOrderedKeyValueBufferTest.shouldRestoreV3Format.
func TestKeyed_ReopensAsItWas(t *testing.T) {
	e := rows(t)
	put := func(key string, i int) {
		require.NoError(t, e.Put([]byte(key), golden[i].v.Append(nil, golden[i].due), 0))
	}
	put("todelete", 0)
	put("asdf", 1)
	put("zxcv", 2)
	put("zxcv", 3)
	b, err := buffer.OpenKeyed("b", e)
	require.NoError(t, err)
	assert.Equal(t, 3, b.Len())
	assert.EqualValues(t, 142, b.Size())
	_, _, err = b.Head()
	require.NoError(t, err)
	require.NoError(t, b.Remove())
	assert.EqualValues(t, 95, b.Size())
	var v buffer.Value
	seen, ok, err := buffer.Prior("b", e, []byte("zxcv"), &v)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "previous", string(seen))
	seen, ok, err = buffer.Prior("b", e, []byte("asdf"), &v)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Nil(t, seen)
	_, ok, err = buffer.Prior("b", e, []byte("todelete"), &v)
	require.NoError(t, err)
	assert.False(t, ok)
	assert.Equal(t, []string{"zxcv", "asdf"}, drain(t, b))
	assert.Zero(t, b.Size())
}

func drain(t *testing.T, b *buffer.Keyed) (keys []string) {
	for {
		_, ok := b.First()
		if !ok {
			return keys
		}
		key, _, err := b.Head()
		require.NoError(t, err)
		keys = append(keys, string(key))
		require.NoError(t, b.Remove())
	}
}

// TestKeyed_AgainstAModel compares a buffer with a sorted list, opened again now and then.
func TestKeyed_AgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	type row struct {
		key, prior, val string
		due, size       int64
	}
	e := rows(t)
	b, err := buffer.OpenKeyed("b", e)
	require.NoError(t, err)
	var model []row
	for range 5000 {
		switch n := r.IntN(10); {
		case n < 6:
			key, val, old := fmt.Sprint("k", r.IntN(40)), fmt.Sprint(r.IntN(1000)), fmt.Sprint(r.IntN(3))
			due := r.Int64N(50)
			v := buffer.Value{Old: []byte(old), New: []byte(val), Time: due}
			require.NoError(t, b.Put([]byte(key), due, v))
			i := slices.IndexFunc(model, func(x row) bool { return x.key == key })
			if i < 0 {
				model = append(model, row{key: key, prior: old, due: due})
				i = len(model) - 1
			}
			v.Prior = []byte(model[i].prior)
			model[i].val, model[i].size = val, 8+int64(len(key))+v.Size()
			slices.SortFunc(model, func(x, y row) int {
				if x.due != y.due {
					return int(x.due - y.due)
				}
				return bytes.Compare([]byte(x.key), []byte(y.key))
			})
		case n < 9 && len(model) > 0:
			due, ok := b.First()
			require.True(t, ok)
			key, v, err := b.Head()
			require.NoError(t, err)
			assert.Equal(t, row{string(key), string(v.Prior), string(v.New), due, model[0].size}, model[0])
			require.NoError(t, b.Remove())
			model = model[1:]
		case n == 9:
			b, err = buffer.OpenKeyed("b", e)
			require.NoError(t, err)
		}
		var size int64
		for _, x := range model {
			size += x.size
		}
		require.Equal(t, len(model), b.Len())
		require.Equal(t, size, b.Size())
	}
}

func TestQueue_ReleasesInOrder(t *testing.T) {
	e := rows(t)
	q, err := buffer.OpenQueue("q", e)
	require.NoError(t, err)
	put := func(key, val string, at int64) {
		require.NoError(t, q.Put([]byte(key), buffer.Value{New: []byte(val), Time: at}))
	}
	put("b", "1", 5)
	put("a", "2", 7)
	put("a", "3", 5)
	put("b", "4", 5)
	q, err = buffer.OpenQueue("q", e) // numbers go on
	require.NoError(t, err)
	put("b", "5", 5)
	assert.Equal(t, 5, q.Len())
	var got []string
	until := func(limit int64) []string {
		got = nil
		require.NoError(t, q.ReleaseUntil(limit, func(key []byte, v *buffer.Value) error {
			got = append(got, fmt.Sprintf("%s=%s@%d", key, v.New, v.Time))
			return nil
		}))
		return got
	}
	assert.Empty(t, until(4))
	assert.Equal(t, []string{"a=3@5", "b=1@5", "b=4@5", "b=5@5"}, until(6))
	put("c", "6", 6) // earlier than what is there
	stop := errors.New("stop")
	require.ErrorIs(t, q.ReleaseUntil(9, func([]byte, *buffer.Value) error { return stop }), stop)
	assert.Equal(t, []string{"c=6@6", "a=2@7"}, until(9), "what f failed on stays")
	assert.Empty(t, until(100))
	assert.Zero(t, q.Len())
	assert.Zero(t, q.Size())
}

// The key is that of PrefixedWindowKeySchemas.TimeFirstWindowKeySchema.
func TestQueue_BytesAreThoseOfKafkaStreams(t *testing.T) {
	e := rows(t)
	q, err := buffer.OpenQueue("q", e)
	require.NoError(t, err)
	v := buffer.Value{New: []byte("x"), Time: 258, Source: topology.Source{Topic: "t", Offset: 4}}
	require.NoError(t, q.Put([]byte("k"), v))
	for row, err := range e.Scan(storage.Range{}) {
		require.NoError(t, err)
		assert.Equal(t, "00"+"0000000000000102"+"6b"+"00000001", hex.EncodeToString(row.Key))
		assert.Equal(t, "0000000000000102"+"0000000000000004"+"0000000174"+"00000000"+"00000000"+"ffffffff"+"ffffffff"+"0000000178"+"0000000000000000", hex.EncodeToString(row.Value))
	}
}

func TestBuffers_FailedPutChangesNothing(t *testing.T) {
	full := errors.New("full")
	e := &refusing{rows(t), nil}
	b, err := buffer.OpenKeyed("b", e)
	require.NoError(t, err)
	require.NoError(t, b.Put([]byte("a"), 1, buffer.Value{New: []byte("1")}))
	size := b.Size()
	e.err = full
	for _, key := range []string{"a", "b"} {
		var p *buffer.PutError
		err := b.Put([]byte(key), 2, buffer.Value{New: []byte("22")})
		require.ErrorAs(t, err, &p)
		require.ErrorIs(t, err, full)
	}
	assert.Equal(t, size, b.Size())
	assert.Equal(t, []string{"a"}, drain(t, b))
}

type refusing struct {
	storage.Engine
	err error
}

func (r *refusing) Put(key, value []byte, time int64) error {
	if r.err != nil {
		return r.err
	}
	return r.Engine.Put(key, value, time)
}
