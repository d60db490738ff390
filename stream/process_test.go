package stream_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

type (
	context1 = stream.Context[string, string]
	each     = func(rec) error
)

func processNode(start func(*context1) (each, error), uses ...store.Dependency) func(strs) strs {
	return func(s strs) strs { return stream.Process(s, "p", start, uses...) }
}

func TestProcess_ForwardsAnything(t *testing.T) {
	x := run(t, processNode(func(c *context1) (each, error) {
		return func(r rec) error {
			c.Forward(r.With("h", []byte("1")))
			c.Forward(rec{Key: "new", Value: fmt.Sprint(r.Source())})
			c.Forward(r.At(time.UnixMicro(5500)).Deleted())
			return nil
		}, nil
	}), "a=b", "-")
	assert.Equal(t, []string{"a=b@1 h:1", "new={in 0 0}@1", "a@5", "-@2 h:1", "new={in 0 1}@2", "-@5"}, x.out)
}

func TestProcess_ForwardedRecordsHaveTheirSource(t *testing.T) {
	x := run(t, func(s strs) strs {
		p := stream.Process(s, "p", func(c *context1) (each, error) {
			c.EveryWallClock(time.Second, func(now time.Time) error {
				c.Forward(rec{Key: "tick"})
				return nil
			})
			return func(rec) error { c.Forward(rec{Key: "new"}); return nil }, nil
		})
		return stream.MapRecordValues(p, func(r rec) (string, bool) { return fmt.Sprint(r.Source()), true })
	}, "a=1", "a=2")
	x.d.Advance(time.Second)
	require.Len(t, x.out, 3)
	assert.Equal(t, []string{"new={in 0 0}@1", "new={in 0 1}@2"}, x.out[:2])
	assert.Contains(t, x.out[2], "tick={ -1 -1}@")
}

func TestProcess_Stores(t *testing.T) {
	sums := store.NewKeyValue("sums", serde.String, serde.String, store.InMemory())
	x := run(t, processNode(func(c *context1) (each, error) {
		sums := sums.In(c)
		return func(r rec) error {
			old, _, err := sums.Get(r.Key)
			if err != nil {
				return err
			}
			c.Forward(stream.WithValue(r, old+r.Value))
			return sums.Put(r.Key, old+r.Value)
		}, nil
	}, sums), "a=x", "b=y", "a=z")
	assert.Equal(t, []string{"a=x@1", "b=y@2", "a=xz@3"}, x.out)
	v, ok, err := sums.In(x.d).Get("a")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "xz", v)
}

func TestProcess_TypedOutputs(t *testing.T) {
	big := stream.NewOutput("big", serde.Int64, serde.String)
	var got []string
	x := run(t, func(s strs) strs {
		p := stream.Process(s, "p", func(c *context1) (each, error) {
			big := big.In(c)
			return func(r rec) error {
				big(stream.WithKey(r, int64(len(r.Value))))
				c.Forward(r)
				big(stream.Record[int64, string]{Key: 7})
				return nil
			}, nil
		}, big)
		stream.ForEach(stream.Side(p, big).Named("bigger"), func(r stream.Record[int64, string]) { got = append(got, render(r)) })
		return p
	}, "a=xyz")
	assert.Equal(t, []string{"a=xyz@1"}, x.out)
	assert.Equal(t, []string{"3=xyz@1", "7=@1"}, got)
}

func TestProcess_Punctuation(t *testing.T) {
	n := 0
	x := run(t, processNode(func(c *context1) (each, error) {
		var timer *topology.Timer
		timer = c.EveryStreamTime(2*time.Millisecond, func(now time.Time) error {
			if n++; n == 2 {
				timer.Stop()
				timer.Stop()
			}
			c.Forward(rec{Key: "st", Value: c.ID()})
			return nil
		})
		return func(r rec) error {
			c.Forward(stream.WithValue(r, fmt.Sprint(c.StreamTime().UnixMilli())))
			return nil
		}, nil
	}), "a=", "a=", "a=", "a=")
	assert.Equal(t, []string{"a=1@1", "st=0_0@1", "a=2@2", "st=0_0@2", "a=3@3", "a=4@4"}, x.out)
}

func TestProcess_PunctuationErrorGoesToThePolicy(t *testing.T) {
	tries := 0
	x := run(t, func(s strs) strs {
		return processNode(func(c *context1) (each, error) {
			c.EveryStreamTime(time.Millisecond, func(time.Time) error {
				tries++
				return errors.New("no")
			})
			return func(r rec) error { c.Forward(r); return nil }, nil
		})(s).OnError(failure.Retry(1, time.Millisecond, time.Millisecond, failure.Skip()))
	}, "a=b", "a=c")
	assert.Equal(t, []string{"a=b@1", "a=c@2"}, x.out)
	assert.Equal(t, 4, tries)
}

func TestProcess_ErrorGoesToThePolicy(t *testing.T) {
	tries := 0
	x := run(t, func(s strs) strs {
		return processNode(func(c *context1) (each, error) {
			return func(r rec) error {
				switch tries++; {
				case r.Value == "drop":
					return fmt.Errorf("wrapped: %w", failure.Drop("not wanted"))
				case r.Value == "bad":
					return errors.New("bad")
				}
				c.Forward(r)
				return nil
			}, nil
		})(s).OnError(failure.Retry(2, time.Millisecond, time.Second, failure.Skip()))
	}, "a=bad", "a=good", "a=drop")
	assert.Equal(t, []string{"a=good@2"}, x.out)
	assert.Equal(t, 5, tries)
	assert.Equal(t, map[string]int{graph.ProcessSkipped: 1, "not wanted": 1}, x.dropped)
}

func TestProcess_IsStoppedByAFatalErrorDownstream(t *testing.T) {
	var calls int
	top := build(t, func(b *stream.Builder) {
		p := stream.Process(stream.From(b, in), "p", func(c *context1) (each, error) {
			return func(r rec) error { c.Forward(r); c.Forward(r); return nil }, nil
		}).OnError(failure.Skip())
		stream.TryForEach(p, func(context.Context, rec) error { calls++; return errors.New("fatal") })
	})
	d := testdriver.New(t, top)
	require.ErrorContains(t, testdriver.Input(d, in).SendErr(record("a=b")), "fatal")
	assert.Equal(t, 1, calls)
}

func TestProcessValues(t *testing.T) {
	seen := store.NewTimestamped("seen", serde.String, serde.String)
	x := run(t, func(s strs) strs {
		return stream.ProcessValues(s, "p", func(c *stream.ValueContext[string]) (each, error) {
			seen := seen.In(c)
			c.EveryStreamTime(time.Hour, func(time.Time) error { c.Forward("nobody"); return nil })
			return func(r rec) error {
				c.Forward(r.Value)
				c.ForwardAt("late", r.Time.Add(5*time.Millisecond))
				c.ForwardTombstone()
				if r.NoKey {
					return nil
				}
				return seen.Put(r.Key, store.Timestamped[string]{Value: r.Value})
			}, nil
		}, seen)
	}, "a=b", "-=c")
	assert.Equal(t, []string{"a=b@1", "a=late@6", "a@1", "-=c@2", "-=late@7", "-@2"}, x.out)
	assert.Equal(t, map[string]int{graph.NoPunctuateKey: 1}, x.dropped)
	row, ok, err := seen.In(x.d).Get("a")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, time.UnixMilli(1), row.Time)
}

// fataler takes the message with which a driver ends a test.
type fataler struct {
	testing.TB
	msg string
}

func (f *fataler) Fatalf(format string, args ...any) {
	f.msg = fmt.Sprintf(format, args...)
	panic(f)
}

func startError(t *testing.T, f func(strs) strs) string {
	top := build(t, func(b *stream.Builder) { f(stream.From(b, in)) })
	x := &fataler{TB: t}
	func() {
		defer func() { require.Equal(t, x, recover()) }()
		testdriver.New(x, top)
	}()
	return x.msg
}

func TestProcess_MistakesOfConstructors(t *testing.T) {
	none := func(rec) error { return nil }
	other := stream.NewOutput("o", serde.Int64, serde.String)
	for _, c := range []struct {
		name, want string
		start      func(*context1) (each, error)
	}{
		{"an error", "no database", func(*context1) (each, error) { return none, errors.New("no database") }},
		{"no function", "neither a function nor an error", func(*context1) (each, error) { return nil, nil }},
		{"forwarding", "its constructor forwards a record", func(c *context1) (each, error) { c.Forward(rec{}); return none, nil }},
		{"an output not listed", `output "x" is not among what the step uses`, func(c *context1) (each, error) {
			stream.NewOutput("x", serde.String, serde.String).In(c)
			return none, nil
		}},
		{"an output of other types", `output "o" is opened with other types`, func(c *context1) (each, error) {
			stream.NewOutput("o", serde.String, serde.String).In(c)(rec{})
			return none, nil
		}},
		{"a short interval", "the shortest interval is 1ms", func(c *context1) (each, error) {
			c.EveryStreamTime(time.Microsecond, func(time.Time) error { return nil }).Stop()
			return none, nil
		}},
		{"a nil punctuation", "a punctuation's function is nil", func(c *context1) (each, error) {
			c.EveryWallClock(time.Second, nil)
			return none, nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			msg := startError(t, processNode(c.start, other))
			assert.Contains(t, msg, c.want)
			assert.Contains(t, msg, "process_test.go")
		})
	}
}
