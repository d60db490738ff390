package join_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

type record = stream.Record[string, string]

// byFirst looks up under the first character of the value; there is none where that is "-".
func byFirst(r record) (string, bool) { return r.Value[:1], r.Value[0] != '-' }

func byKey(r record) (string, bool) { return r.Key, !r.NoKey }

func plusRow(v, row string) string { return v + "+" + row }

func plusRowOrNone(v, row string, ok bool) string {
	if !ok {
		row = "none"
	}
	return v + "+" + row
}

func TestStreamGlobal(t *testing.T) {
	steps := []string{
		"left a=x1@1", "rows x=r@50", "left a=x2@2", "rows x=s@40", "left a=x3@3", "left =x4@4", "left a=-5@5", "left =-6@6", "left a@7",
		"left @8", "left a=y9@9", "rows x@10", "left a=x11@11", "rows =lost@12",
	}
	for _, tt := range []struct {
		name    string
		join    func(s kstream, t table.GlobalKTable[string, string]) kstream
		want    string
		dropped map[string]int
	}{
		{"inner: the latest row to arrive counts; a record without a key is joined like others",
			func(s kstream, t table.GlobalKTable[string, string]) kstream {
				return join.StreamGlobal(s, t, byFirst, plusRow)
			},
			"a=x2+r@2 left, a=x3+s@3 left, =x4+s@4 left",
			map[string]int{"record without key to look up": 2, "record without value": 2, "record without key": 1}},
		{"left: what has no row, or no key to look up, is joined with none",
			func(s kstream, t table.GlobalKTable[string, string]) kstream {
				return join.StreamGlobalLeft(s, t, byFirst, plusRowOrNone)
			},
			"a=x1+none@1 left, a=x2+r@2 left, a=x3+s@3 left, =x4+s@4 left, a=-5+none@5 left, =-6+none@6 left, a=y9+none@9 left, a=x11+none@11 left",
			map[string]int{"record without value": 2, "record without key": 1}},
	} {
		for _, partitions := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d partitions", tt.name, partitions), func(t *testing.T) {
				d := drive(t, func(b *stream.Builder) {
					stream.To(tt.join(stream.From(b, left), table.Global(b, rows, "rows")), joined)
				}, testdriver.Partitions(partitions))
				send(d, steps...)
				assert.Equal(t, tt.want, taken(d))
				assert.Equal(t, tt.dropped, d.Dropped())
				assert.Equal(t, []string{"joined"}, d.Topics(), "neither a changelog nor a repartition topic")
			})
		}
	}
}

func TestStreamGlobal_KeyIsCalledOncePerRecordWithAValue(t *testing.T) {
	var asked []string
	d := drive(t, func(b *stream.Builder) {
		key := func(r record) (string, bool) {
			asked = append(asked, fmt.Sprint(r.Key, r.Tombstone))
			return r.Key, true
		}
		stream.To(join.StreamGlobalLeft(stream.From(b, left), table.Global(b, rows, "rows"), key, plusRowOrNone), joined)
	})
	send(d, "left a@1", "left b=v@2")
	assert.Equal(t, []string{"bfalse"}, asked)
}

func TestStreamGlobal_AnyKeyFromAnyPartition(t *testing.T) {
	byNumber := stream.NewTopic("rows", serde.Int64, serde.String)
	d := drive(t, func(b *stream.Builder) {
		s := stream.SelectKey(stream.From(b, left), func(k, _ string) string { return "new " + k })
		key := func(r record) (int64, bool) { return int64(len(r.Value)), true }
		stream.To(join.StreamGlobal(s, table.Global(b, byNumber, "numbers"), key, plusRow), joined)
	}, testdriver.TopicPartitions("left", 3), testdriver.TopicPartitions("rows", 7))
	in := testdriver.Input(d, byNumber)
	for i := range int64(20) {
		in.Partition(int32(i%7)).Send(i, fmt.Sprint("row ", i))
	}
	for i := range 20 {
		send(d, fmt.Sprintf("left k%d=%s@%d", i, strings.Repeat("v", i), i))
		assert.Equal(t, fmt.Sprintf("new k%d=%s+row %d@%d left", i, strings.Repeat("v", i), i, i), taken(d))
	}
}

func TestGlobalStore_IsRestoredAfterARestart(t *testing.T) {
	for _, wipe := range []bool{false, true} {
		upper := store.NewKeyValue("upper", serde.String, serde.String)
		var own store.KeyValueRef[string, string]
		d := drive(t, func(b *stream.Builder) {
			g := table.Global(b, rows, "rows", store.InMemory())
			own = g.Store()
			stream.GlobalStore(b, stream.NewTopic("more", serde.String, serde.String), "keep", func(t *topology.Task) (func(record) error, error) {
				s := upper.In(t)
				return func(r record) error { return s.Put(r.Key, strings.ToUpper(r.Value)) }, nil
			}, upper)
			s := join.StreamGlobalLeft(stream.From(b, left), g, byKey, plusRowOrNone)
			stream.To(stream.Process(s, "look-up", func(c *stream.Context[string, string]) (func(record) error, error) {
				s := upper.In(c)
				return func(r record) error {
					v, _, err := s.Get(r.Key)
					c.Forward(stream.WithValue(r, r.Value+"+"+v))
					return err
				}, nil
			}, upper), joined)
		}, testdriver.Partitions(3))
		send(d, "rows a=1@1", "rows b=2@2", "rows a=3@3", "rows b@4", "more a=x@1", "more b=y@1")
		if wipe {
			d.Wipe()
		} else {
			d.Restart()
		}
		send(d, "left a=l@5", "left b=m@6")
		assert.Equal(t, "a=l+3+X@5 left, b=m+none+Y@6 left", taken(d))
		v, ok, err := own.In(d).Get("a")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, "3", v)
	}
}

func TestGlobalStore_AppliesWhatTheProgramWrites(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		s := stream.From(b, left)
		stream.To(s, rows)
		stream.To(join.StreamGlobalLeft(s, table.Global(b, rows, "rows"), byKey, plusRowOrNone), joined)
	})
	send(d, "left a=1@9", "left a=2@3", "left a=3@5")
	assert.Equal(t, "a=1+none@9 left, a=2+1@3 left, a=3+2@5 left", taken(d))
}

func TestGlobalStore_IsWrittenByItsStepAlone(t *testing.T) {
	g := store.NewKeyValue("g", serde.String, serde.String)
	d := drive(t, func(b *stream.Builder) {
		stream.To(stream.Process(stream.From(b, left), "writes", func(c *stream.Context[string, string]) (func(record) error, error) {
			s := g.In(c)
			return func(r record) error { return s.Put(r.Key, r.Value) }, nil
		}, g), joined)
		stream.GlobalStore(b, rows, "keep", func(t *topology.Task) (func(record) error, error) {
			s := g.In(t)
			return func(r record) error { return s.Put(r.Key, r.Value) }, nil
		}, g)
	})
	send(d, "rows a=1@1")
	err := testdriver.Input(d, left).SendErr(record{Key: "a", Value: "v"})
	require.ErrorContains(t, err, `store "g" is filled from topic "rows" by "keep" and can only be read here`)
}

func TestGlobalStore_Failures(t *testing.T) {
	numbers := stream.NewTopic("rows", serde.String, serde.Int64)
	g := store.NewKeyValue("g", serde.String, serde.Int64)
	keep := func(b *stream.Builder, topic stream.Topic[string, int64], p failure.Policy) {
		stream.GlobalStore(b, topic, "keep", func(t *topology.Task) (func(stream.Record[string, int64]) error, error) {
			s := g.In(t)
			return func(r stream.Record[string, int64]) error {
				if r.Value < 0 {
					return errors.New("negative")
				}
				return s.Put(r.Key, r.Value)
			}, nil
		}, g).OnError(p)
	}
	t.Run("skipped, whatever asks for a dead letter", func(t *testing.T) {
		d := drive(t, func(b *stream.Builder) {
			keep(b, numbers.OnDecodeError(failure.DeadLetter("dead")), failure.Skip())
		})
		in := testdriver.Input(d, numbers)
		in.SendBytes([]byte("a"), []byte("no number"))
		in.Send("a", -1)
		in.Send("a", 1)
		d.Restart()
		v, _, err := g.In(d).Get("a")
		require.NoError(t, err)
		assert.Equal(t, int64(1), v)
		assert.Empty(t, d.Topics())
		assert.Equal(t, map[string]int{"record does not decode": 2, "function failed": 2}, d.Dropped(), "once more at the restart")
	})
	t.Run("fatal", func(t *testing.T) {
		d := drive(t, func(b *stream.Builder) { keep(b, numbers, failure.Stop()) })
		require.ErrorContains(t, testdriver.Input(d, numbers).SendErr(stream.Record[string, int64]{Key: "a", Value: -1}), "negative")
	})
}

func TestGlobalStore_Mistakes(t *testing.T) {
	g := store.NewKeyValue("g", serde.String, serde.String)
	keep := func(s store.KeyValueRef[string, string]) func(*topology.Task) (func(record) error, error) {
		return func(t *topology.Task) (func(record) error, error) {
			x := s.In(t)
			return func(r record) error { return x.Put(r.Key, r.Value) }, nil
		}
	}
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"a topic that is read as a stream, too", func(b *stream.Builder) {
			stream.From(b, rows)
			table.Global(b, rows, "g")
		}, `topic "rows" is read as a global table or store, and as a stream at `},
		{"a topic that is read twice", func(b *stream.Builder) {
			table.Global(b, rows, "g")
			table.Global(b, rows, "h")
		}, `topic "rows" is read as a global table or store at `},
		{"a topic that begins elsewhere", func(b *stream.Builder) { table.Global(b, rows.StartAt(stream.Latest), "g") }, "a global table has all records of its topic"},
		{"an option for a changelog", func(b *stream.Builder) { table.Global(b, rows, "g", store.NoChangelog()) }, "store.InMemory do"},
		{"a zero global table", func(b *stream.Builder) {
			join.StreamGlobal(stream.From(b, left), table.GlobalKTable[string, string]{}, byKey, plusRow)
		}, "zero handle"},
		{"no key", func(b *stream.Builder) {
			join.StreamGlobal[string, string, string](stream.From(b, left), table.Global(b, rows, "g"), nil, plusRow)
		}, "its function 1 of 2 is nil"},
		{"no store to keep", func(b *stream.Builder) { stream.GlobalStore(b, rows, "keep", keep(g)) }, "it has no store"},
		{"a store that two steps keep", func(b *stream.Builder) {
			stream.GlobalStore(b, rows, "keep", keep(g), g)
			stream.GlobalStore(b, left, "keep-too", keep(g), g)
		}, `store "g" already belongs to the step at `},
		{"a table's store", func(b *stream.Builder) {
			s := table.From(b, left, "t").Store()
			stream.GlobalStore(b, rows, "keep", keep(s), s)
		}, `store "t" is a table's`},
		{"an output", func(b *stream.Builder) {
			stream.GlobalStore(b, rows, "keep", keep(g), stream.NewOutput("o", serde.String, serde.String))
		}, "it can use stores only"},
		{"a store without a changelog", func(b *stream.Builder) {
			n := store.NewKeyValue("n", serde.String, serde.String, store.NoChangelog())
			stream.GlobalStore(b, rows, "keep", keep(n), n)
		}, "has no changelog"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "stream_global_test.go:")
		})
	}
}

func TestGlobalStore_NoPunctuations(t *testing.T) {
	g := store.NewKeyValue("g", serde.String, serde.String)
	b := stream.NewBuilder()
	stream.GlobalStore(b, rows, "keep", func(t *topology.Task) (func(record) error, error) {
		t.EveryWallClock(1e9, nil)
		return func(record) error { return nil }, nil
	}, g)
	top, err := b.Build()
	require.NoError(t, err)
	var failed fatal
	testdriver.New(&failed, top)
	assert.Contains(t, string(failed), "it has no punctuations")
}

// fatal is a test that keeps what it ended with.
type fatal string

func (f *fatal) Helper()                           {}
func (f *fatal) Cleanup(func())                    {}
func (f *fatal) Errorf(format string, args ...any) { *f += fatal(fmt.Sprintf(format, args...)) }
func (f *fatal) Fatalf(format string, args ...any) { *f += fatal(fmt.Sprintf(format, args...)) }

func TestGlobalTable_IsDescribed(t *testing.T) {
	b := stream.NewBuilder()
	stream.To(join.StreamGlobal(stream.From(b, left), table.Global(b, rows, "g"), byKey, plusRow).Named("with-rows"), joined)
	top, err := b.Build()
	require.NoError(t, err)
	assert.Equal(t, `sub-topology 0
  source-1 (topic left)
    -> with-rows
  with-rows (store g)
    -> sink-1
  sink-1 (topic joined)

sub-topology 1 (global: no tasks)
  source g-source (topic rows)
    -> g
  global-table g (store g)
  store g (global, restored from topic rows)
`, strings.Replace(top.String(), "global-join with-rows", "with-rows", 1))
	assert.Contains(t, top.Describe(), "Sub-topology: 1 for global store (will not generate tasks)\n")
	subs := top.Subtopologies()
	assert.Equal(t, []bool{false, true}, []bool{subs[0].Global, subs[1].Global})
	assert.Equal(t, []topology.Store{{Name: "g", Global: true, Topic: "rows"}}, subs[1].Stores)
}
