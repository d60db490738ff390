package operator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// tableJoinSide is a join as one of its sides sees it: X are its rows, Y those of the other side.
func tableJoinSide(t testing.TB) *codec.Codec[string] {
	t.Helper()
	s, err := codec.ForTopic(serde.Serde[string](serde.String), "t", false, nil)
	require.NoError(t, err)
	return s
}

func subscribe(t testing.TB, left bool) *operator.Subscribe[string, string, string] {
	return &operator.Subscribe[string, string, string]{
		ForeignKey: func(_, v string) (string, bool) {
			fk, _, ok := strings.Cut(v, "|")
			return fk, ok
		},
		Left: left, Equal: tableJoinSide(t).Equal, Key: tableJoinSide(t).Encode, Value: tableJoinSide(t).Encode, Partition: 3,
	}
}

// moved is the change of a left row: "" is none.
func moved(from, to string) wire.Change[string, string] {
	c := wire.Change[string, string]{Record: topology.Record[string, string]{Key: "k", Value: to, Tombstone: to == "", Time: time.UnixMilli(1)}}
	c.Old, c.HasOld = from, from != ""
	return c
}

// The table of the reference, as Kafka Streams 4.3 does it.
func TestForeignKeySubscribe_MessagesOfEachChange(t *testing.T) {
	for _, tt := range []struct{ from, to, inner, left string }{
		{"", "f|1", "3 f", "2 f"},
		{"", "none", "refused", "2 null"},
		{"f|1", "f|2", "3 f", "2 f"},
		{"f|1", "g|2", "0 f, 2 g", "0 f, 2 g"},
		{"f|1", "none", "1 f, refused", "0 f, 2 null"},
		{"none", "f|1", "3 f", "2 f"},
		{"none", "nobody", "refused", "2 null"},
		{"f|1", "", "1 f", "0 f, 2 null"},
		{"none", "", "", "2 null"},
		{"", "", "", ""},
	} {
		for _, left := range []bool{false, true} {
			m, err := subscribe(t, left).Change(moved(tt.from, tt.to))
			require.NoError(t, err)
			var got []string
			for _, r := range m.Messages[:m.Count] {
				to := r.Key
				if r.NoKey {
					to = "null"
				}
				got = append(got, fmt.Sprint(r.Value.Instruction, " ", to))
				assert.Equal(t, tt.to != "", r.Value.Hash.OK)
				assert.Equal(t, "k", string(r.Value.Key))
				assert.EqualValues(t, 3, r.Value.Partition)
			}
			if m.NoForeignKey {
				got = append(got, "refused")
			}
			want := tt.inner
			if left {
				want = tt.left
			}
			assert.Equal(t, want, strings.Join(got, ", "), "%q -> %q, left %v", tt.from, tt.to, left)
		}
	}
}

func subscriptions(t testing.TB) *operator.Subscriptions[string] {
	return &operator.Subscriptions[string]{Name: "s", Store: memtable.New(nil), ForeignKey: tableJoinSide(t).Encode}
}

func TestForeignKeySubscriptions_OfOneRowAreAdjacent(t *testing.T) {
	s := subscriptions(t)
	for _, x := range []string{"f k", "f k1", "ff j", "f j", "f1 k", " a", "\xff\xff z"} {
		fk, key, _ := strings.Cut(x, " ")
		require.NoError(t, s.Apply(fk, kswire.Subscription{Instruction: kswire.SubscribeAndRespond, Key: []byte(key)}, 1))
	}
	of := func(fk string) (keys []string) {
		require.NoError(t, s.Of(fk, func(m kswire.Subscription) error {
			keys = append(keys, string(m.Key))
			return nil
		}))
		return keys
	}
	assert.Equal(t, []string{"j", "k", "k1"}, of("f"))
	assert.Equal(t, []string{"j"}, of("ff"))
	assert.Equal(t, []string{"a"}, of(""))
	assert.Equal(t, []string{"z"}, of("\xff\xff"))
	require.NoError(t, s.Apply("f", kswire.Subscription{Instruction: kswire.Unsubscribe, Key: []byte("k")}, 2))
	require.NoError(t, s.Apply("f", kswire.Subscription{Instruction: kswire.UnsubscribeAndRespond, Key: []byte("j")}, 2))
	assert.Equal(t, []string{"k1"}, of("f"))
	assert.Empty(t, of("g"))
}

func TestFoldRows_ReportsDeletedGroups(t *testing.T) {
	f := &operator.FoldRows[string, int64, int64]{
		Rows: open(t, serde.Serde[int64](serde.Int64)), Start: func() int64 { return 0 }, Old: true,
		Add:    func(_ string, v, a int64, _ bool) int64 { return a + v },
		Remove: func(_ string, v, a int64) int64 { return a - v },
		Delete: func(_ string, a int64) bool { return a == 0 },
	}
	change := func(c kswire.Change[int64], at int64) operator.FoldResult[int64] {
		t.Helper()
		res, err := f.Change("g", c, at)
		require.NoError(t, err)
		return res
	}
	assert.Equal(t, operator.FoldResult[int64]{Deleted: true, Time: 5}, change(kswire.Change[int64]{Old: 3, HasOld: true}, 5), "there was nothing to take away from")
	assert.Equal(t, operator.FoldResult[int64]{New: 3, Time: 4}, change(kswire.Change[int64]{New: 3, HasNew: true}, 4))
	assert.Equal(t, operator.FoldResult[int64]{New: 7, Time: 4, Old: 3, HasOld: true, Existed: true}, change(kswire.Change[int64]{New: 7, HasNew: true, Old: 3, HasOld: true}, 2))
	assert.Equal(t, operator.FoldResult[int64]{Deleted: true, Time: 9, Old: 7, HasOld: true, Existed: true}, change(kswire.Change[int64]{Old: 7, HasOld: true}, 9))
}

func TestTableOperators_DoNotAllocate(t *testing.T) {
	rows := open(t, serde.Serde[string](serde.String))
	_, _, _, err := rows.Load("k")
	require.NoError(t, err)
	require.NoError(t, rows.Save("row", 1))
	get := func(string) (string, int64, bool, error) { return "row", 1, true, nil } // what decodes texts allocates them

	s := subscribe(t, false)
	subs := subscriptions(t)
	a := &operator.Answer[string, string]{Get: get, Value: tableJoinSide(t).Encode}
	sent := 0
	send := func(operator.ResponseRecord) error { sent++; return nil }
	back := &operator.Resolve[string, string, string, int]{Get: get, Value: tableJoinSide(t).Encode, Join: func(l, r string, _ bool) int { return len(l) + len(r) }}
	table := &operator.TableTable[string, string, string, int]{Left: get, Right: get, Join: func(l string, _ bool, r string, _ bool) int { return len(l) + len(r) }, Old: true}
	left, right := table.Sides()
	regroup := &operator.Regroup[string, string, string, int]{Group: func(_, v string) (string, int, bool) { return v, len(v), true }, Equal: tableJoinSide(t).Equal}
	answer := topology.Record[string, kswire.Response[string]]{Key: "k", Value: kswire.Response[string]{Hash: kswire.HashOf([]byte("row")), Value: "r", HasValue: true}}
	for name, f := range map[string]func() error{
		"subscribe and answer": func() error {
			m, err := s.Change(moved("f|1", "g|2"))
			for _, r := range m.Messages[:m.Count] {
				if err == nil {
					err = subs.Apply(r.Key, r.Value, 1)
				}
				if err == nil {
					_, _, err = a.Subscription(r)
				}
			}
			return err
		},
		"resolve": func() error {
			_, current, err := back.Response(answer)
			if !current {
				return fmt.Errorf("the answer is stale: %w", err)
			}
			return err
		},
		"join by key": func() error {
			_, _, err := left(moved("a", "b"))
			if err == nil {
				_, _, err = right(moved("a", ""))
			}
			return err
		},
		"regroup": func() error {
			_, err := regroup.Change(moved("a", "b"))
			return err
		},
	} {
		require.NoError(t, f(), name)
		assert.Zero(t, testing.AllocsPerRun(100, func() { _ = f() }), name)
	}
	// A change of a right row scans, which allocates once; what follows for each that refers to it
	// does not.
	for i := range 1000 {
		require.NoError(t, subs.Apply("k", kswire.Subscription{Instruction: kswire.SubscribeAndRespond, Key: fmt.Append(nil, i)}, 1))
	}
	assert.Less(t, testing.AllocsPerRun(10, func() { _ = a.Change(moved("x", "y"), subs, send) }), 20.0)
	assert.Positive(t, sent)
}
