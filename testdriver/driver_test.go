package testdriver_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

var (
	in  = stream.NewTopic("in", serde.String, serde.String)
	out = stream.NewTopic("out", serde.String, serde.String)
)

func build(t testing.TB, f func(b *stream.Builder)) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	f(b)
	top, err := b.Build()
	require.NoError(t, err)
	return top
}

func upper(b *stream.Builder) {
	stream.To(stream.MapValues(stream.From(b, in), strings.ToUpper), out)
}

// outlet is what a step written by hand takes and makes.
type outlet = wire.Outlet[string, string]

// withStep is a program that copies in to out through a step written by hand, with a store.
func withStep(t testing.TB, f func(n *graph.Node, env graph.Env, out outlet) (outlet, error), stores ...*graph.Store) *topology.Topology {
	top := build(t, func(b *stream.Builder) {
		stream.To(stream.MapValues(stream.From(b, in), strings.ToUpper).Named("step"), out)
	})
	g := (*graph.Handle)(top).Graph()
	for _, n := range g.Nodes {
		if n.Name == "step" {
			n.Wire = func(n *graph.Node, env graph.Env, outs []any) (any, error) { return f(n, env, outs[0].(outlet)) }
		}
	}
	g.Stores, g.Subtopologies[0].Stores = stores, stores
	return top
}

// count counts records by key in a store.
func count(store string) func(*graph.Node, graph.Env, outlet) (outlet, error) {
	return func(_ *graph.Node, env graph.Env, out outlet) (outlet, error) {
		s, err := env.Store(store)
		if err != nil {
			return nil, err
		}
		return func(r topology.Record[string, string]) error {
			b, _, ok, err := s.Bytes.Get([]byte(r.Key))
			if err != nil {
				return err
			}
			n := uint64(1)
			if ok {
				n += binary.BigEndian.Uint64(b)
			}
			if err := s.Bytes.Put([]byte(r.Key), binary.BigEndian.AppendUint64(nil, n), r.Time.UnixMilli()); err != nil {
				return err
			}
			r.Value = fmt.Sprint(n)
			return out(r)
		}, nil
	}
}

func counts() *graph.Store { return &graph.Store{Name: "counts", Changelog: true} }

// texts renders records as "key=value@time".
func texts(rs []stream.Record[string, string]) []string {
	var s []string
	for _, r := range rs {
		k, v := r.Key, r.Value
		if r.NoKey {
			k = "null"
		}
		if r.Tombstone {
			v = "null"
		}
		s = append(s, fmt.Sprintf("%s=%s@%d", k, v, r.Time.UnixMilli()))
	}
	return s
}

func ms(n int64) time.Time { return time.UnixMilli(n) }

func TestDriver_InputReachesOutput(t *testing.T) {
	d := testdriver.New(t, build(t, upper), testdriver.StartAt(ms(1000)))
	i, o := testdriver.Input(d, in), testdriver.Output(d, out)

	i.Send("a", "x")
	i.SendValue("y")
	i.At(ms(7)).Delete("a")
	i.Header("trace", []byte("1")).Header("none", nil).Send("b", "")
	i.SendBytes(nil, []byte("z"))

	got := o.Read()
	assert.Equal(t, []string{"a=X@1000", "null=Y@1000", "a=null@7", "b=@1000", "null=Z@1000"}, texts(got))
	assert.Equal(t, stream.Headers{{Name: "trace", Value: []byte("1")}, {Name: "none"}}, got[3].Headers)
	assert.Equal(t, topology.Source{Topic: "out", Offset: 3}, got[3].Source())
	assert.Nil(t, o.Read(), "read already")
	assert.Equal(t, map[string]string{"b": ""}, testdriver.Table(o), "read already or not")
	assert.Equal(t, []string{"out"}, d.Topics())
}

func TestOut_ReadOneReturnsTheOldest(t *testing.T) {
	d := testdriver.New(t, build(t, upper))
	i, o := testdriver.Input(d, in), testdriver.Output(d, out)
	i.Send("a", "1")
	i.Send("b", "2")
	assert.Equal(t, "a", o.ReadOne().Key)
	assert.Equal(t, "b", testdriver.Output(d, out).ReadOne().Key, "the driver knows what has been read")

	failed := &recorder{}
	func() {
		defer func() { recover() }()
		e := testdriver.New(failed, build(t, upper))
		testdriver.Output(e, out).ReadOne()
	}()
	assert.Equal(t, []string{`testdriver: there is no record left in topic "out"`}, failed.said)
}

// recorder is a test that fails when asked to.
type recorder struct {
	said    []string
	cleanup []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic("fatal")
}

func (r *recorder) run(f func()) {
	defer func() { _ = recover() }()
	f()
}

func TestIn_PartitionFollowsTheKey(t *testing.T) {
	d := testdriver.New(t, build(t, upper), testdriver.Partitions(3), testdriver.TopicPartitions("out", 5))
	i, o := testdriver.Input(d, in), testdriver.Output(d, out)
	i.Send("foobar", "x")              // murmur2 of it is -790332482
	i.Partition(2).Send("foobar", "y") // wherever it was read
	got := o.Read()
	require.Len(t, got, 2)
	want := int32((-790332482 & 0x7fffffff) % 5)
	for _, r := range got {
		assert.Equal(t, want, r.Source().Partition)
	}
	assert.Nil(t, o.Partition((want+1)%5).Read())
	assert.Len(t, d.Raw("in"), 2)
	assert.Equal(t, int32(2), d.Raw("in")[1].Partition)
	assert.Error(t, i.Partition(3).SendErr(stream.Record[string, string]{}))
}

func TestIn_PartitionerChooses(t *testing.T) {
	byValue := func(r stream.Record[string, string], n int) int { return len(r.Value) % n }
	d := testdriver.New(t, build(t, func(b *stream.Builder) { stream.To(stream.From(b, in), out.Partitioner(byValue)) }), testdriver.Partitions(2))
	testdriver.Input(d, in.Partitioner(byValue)).Send("k", "a")
	assert.Equal(t, int32(1), d.Raw("in")[0].Partition)
	assert.Len(t, testdriver.Output(d, out).Partition(1).Read(), 1)
	assert.Error(t, testdriver.Input(d, in.Partitioner(func(stream.Record[string, string], int) int { return 9 })).
		SendErr(stream.Record[string, string]{}))
}

func TestInput_UnknownTopicIsAnError(t *testing.T) {
	r := &recorder{}
	d := testdriver.New(t, build(t, upper))
	_ = d
	r.run(func() {
		d := testdriver.New(r, build(t, upper))
		testdriver.Input(d, stream.NewTopic("im", serde.String, serde.String))
	})
	assert.Equal(t, []string{`testdriver: the program does not read topic "im"; it reads in`}, r.said)
}

func TestDriver_IsUnusableAfterAnError(t *testing.T) {
	boom := errors.New("boom")
	d := testdriver.New(t, build(t, func(b *stream.Builder) {
		stream.To(stream.MapValues(stream.From(b, in), func(string) string { panic(boom) }), out)
	}))
	err := testdriver.Input(d, in).SendErr(stream.Record[string, string]{Key: "k"})
	require.ErrorIs(t, err, boom)
	assert.Contains(t, err.Error(), "task 0_0, ")
	assert.Contains(t, err.Error(), "topic in[0] offset 0: panic: boom")
	again := testdriver.Input(d, in).SendErr(stream.Record[string, string]{Key: "k"})
	assert.ErrorContains(t, again, "unusable after an earlier error: task 0_0")
}

func TestDriver_PoliciesOfTheApp(t *testing.T) {
	numbers := stream.NewTopic("in", serde.String, serde.Int64)
	top := build(t, func(b *stream.Builder) {
		stream.To(stream.From(b, numbers), stream.NewTopic("out", serde.String, serde.Int64))
	})
	d := testdriver.New(t, top, testdriver.OnDecodeError(failure.DeadLetter("letters")))
	i := testdriver.Input(d, numbers).At(ms(5)).Header("h", []byte("v"))
	i.SendBytes([]byte("k"), []byte("short"))
	i.Send("k", 7)
	assert.Equal(t, map[string]int64{"k": 7}, testdriver.Table(testdriver.Output(d, stream.NewTopic("out", serde.String, serde.Int64))))
	assert.Equal(t, map[string]int{graph.DecodeSkipped: 1}, d.Dropped())
	require.Len(t, d.Failures(), 1)
	assert.Equal(t, "short", string(d.Failures()[0].Value))

	letters := d.Raw("letters")
	require.Len(t, letters, 1)
	assert.Equal(t, "k", string(letters[0].Key))
	assert.Equal(t, "short", string(letters[0].Value))
	assert.Equal(t, ms(5), letters[0].Time)
	h := map[string]string{}
	for _, x := range letters[0].Headers {
		h[x.Name] = string(x.Value)
	}
	assert.Equal(t, map[string]string{
		"h": "v", "__streams.errors.topic": "in", "__streams.errors.partition": "0", "__streams.errors.offset": "0",
		"__streams.errors.exception": h["__streams.errors.exception"], "__streams.errors.stacktrace": h["__streams.errors.stacktrace"],
		"__streams.errors.message": "value: serde.Int64: got 5 bytes, want 8",
	}, h)
	assert.NotEmpty(t, h["__streams.errors.exception"])
}

// Records that a policy passes over are committed like others, be they the last ones: a restart
// does not read them again.
func TestDriver_CommitsSkippedRecords(t *testing.T) {
	in, out := stream.NewTopic("in", serde.String, serde.Int64), stream.NewTopic("out", serde.String, serde.Int64)
	b := stream.NewBuilder()
	stream.To(stream.From(b, in), out)
	top, err := b.Build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.OnDecodeError(failure.DeadLetter("letters")))
	for _, value := range []string{"12345678", "short", "shorter", "87654321", "short"} {
		testdriver.Input(d, in).SendBytes([]byte("k"), []byte(value))
	}
	before := d.Dropped()
	d.Restart()
	assert.Equal(t, before, d.Dropped())
	n := 0
	for _, dropped := range before {
		n += dropped
	}
	assert.Equal(t, 3, n)
	assert.Len(t, testdriver.Output(d, out).ReadValues(), 2)
}

func TestDriver_OversizedRecordGoesToOnProduceError(t *testing.T) {
	d := testdriver.New(t, build(t, upper), testdriver.MaxRecordBytes(3), testdriver.OnProduceError(failure.Skip()))
	i := testdriver.Input(d, in)
	i.Send("k", "123")
	i.Send("k", "12")
	assert.Equal(t, map[string]string{"k": "12"}, testdriver.Table(testdriver.Output(d, out)))
	assert.Equal(t, map[string]int{graph.ProduceSkipped: 1}, d.Dropped())
}

func TestMaxIdle_FollowsTheDriversClock(t *testing.T) {
	left, right := stream.NewTopic("left", serde.String, serde.String), stream.NewTopic("right", serde.String, serde.String)
	d := testdriver.New(t, build(t, func(b *stream.Builder) { stream.To(stream.From(b, left, right), out) }),
		testdriver.MaxIdle(100*time.Millisecond))
	l, r, o := testdriver.Input(d, left), testdriver.Input(d, right), testdriver.Output(d, out)
	l.At(ms(10)).Send("k", "a")
	assert.Nil(t, o.Read())
	r.At(ms(5)).Send("k", "b")
	assert.Equal(t, []string{"k=b@5"}, texts(o.Read()))
	d.Advance(99 * time.Millisecond)
	assert.Nil(t, o.Read())
	d.Advance(time.Millisecond)
	assert.Equal(t, []string{"k=a@10"}, texts(o.Read()))
}

func TestRestart_RestoresStoresAndTimes(t *testing.T) {
	top := withStep(t, count("counts"), counts())
	d := testdriver.New(t, top, testdriver.Partitions(2), testdriver.ApplicationID("app"))
	i, o := testdriver.Input(d, in), testdriver.Output(d, out)
	for range 3 {
		i.Send("a", "")
		i.Send("b", "")
	}
	for name, again := range map[string]func(){"restart": d.Restart, "wipe": d.Wipe} {
		before := testdriver.Table(o)
		again()
		assert.Equal(t, before, testdriver.Table(o), "%s: nothing is processed twice", name)
	}
	i.Send("a", "")
	assert.Equal(t, map[string]string{"a": "4", "b": "3"}, testdriver.Table(o))
	assert.Len(t, d.Raw("app-counts-changelog"), 7)
	assert.Equal(t, []string{"app-counts-changelog", "out"}, d.Topics())
}

func TestRestart_UncommittedRecordsAreProcessedAgain(t *testing.T) {
	d := testdriver.New(t, withStep(t, count("counts"), counts()), testdriver.ManualCommit())
	i, o := testdriver.Input(d, in), testdriver.Output(d, out)
	i.At(ms(1)).Send("a", "")
	d.Commit()
	i.At(ms(2)).Send("a", "")
	i.At(ms(3)).Send("a", "")
	d.Restart()
	assert.Equal(t, []string{"a=1@1", "a=2@2", "a=3@3", "a=2@2", "a=3@3"}, texts(o.Read()))
	assert.Len(t, d.Raw("testdriver-counts-changelog"), 1)
	d.Commit()
	assert.Len(t, d.Raw("testdriver-counts-changelog"), 2, "the last value of a key only")
}

func TestRestart_StoresWithoutChangelog(t *testing.T) {
	for _, c := range []struct {
		name          string
		store         *graph.Store
		restart, wipe string
	}{
		{"on disk", &graph.Store{Name: "counts"}, "2", "1"},
		{"in memory", &graph.Store{Name: "counts", InMemory: true}, "1", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := testdriver.New(t, withStep(t, count("counts"), c.store))
			i, o := testdriver.Input(d, in), testdriver.Output(d, out)
			i.Send("a", "")
			d.Restart()
			i.Send("a", "")
			assert.Equal(t, c.restart, testdriver.Table(o)["a"])
			d.Wipe()
			i.Send("a", "")
			assert.Equal(t, c.wipe, testdriver.Table(o)["a"])
		})
	}
}
