package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

// shaky fails twice for "shaky" and always for "bad".
func shaky() func(rec) error {
	n := 0
	return func(r rec) error {
		switch n++; {
		case r.Value == "drop":
			return failure.Drop("not wanted")
		case r.Value == "bad", r.Value == "shaky" && n < 3:
			return errors.New("no")
		}
		return nil
	}
}

func TestTry_Operators(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(s strs, try func(rec) error) strs
		want []string
	}{
		{
			name: "TryMapValues passes tombstones by",
			f: func(s strs, try func(rec) error) strs {
				return stream.TryMapValues(s, func(_ context.Context, r rec) (string, error) { return strings.ToUpper(r.Value), try(r) })
			},
			want: []string{"a=SHAKY@1", "b@4", "-=X@5"},
		},
		{
			name: "TryMapRecordValues sees tombstones and may make one",
			f: func(s strs, try func(rec) error) strs {
				return stream.TryMapRecordValues(s, func(_ context.Context, r rec) (string, bool, error) { return "v", !r.NoKey, try(r) })
			},
			want: []string{"a=v@1", "b=v@4", "-@5"},
		},
		{
			name: "TryMapRecords",
			f: func(s strs, try func(rec) error) strs {
				return stream.TryMapRecords(s, func(_ context.Context, r rec) (rec, error) { return rec{Key: "n", Value: r.Value}, try(r) })
			},
			want: []string{"n=shaky@1", "n=@4", "n=x@5"},
		},
		{
			name: "TryFlatMapRecords leaves nothing of a failed call",
			f: func(s strs, try func(rec) error) strs {
				return stream.TryFlatMapRecords(s, func(_ context.Context, r rec, emit func(rec)) error {
					emit(r)
					err := try(r)
					emit(rec{Key: "2"})
					return err
				})
			},
			want: []string{"a=shaky@1", "2=@1", "b@4", "2=@4", "-=x@5", "2=@5"},
		},
		{
			name: "TryFilterRecords",
			f: func(s strs, try func(rec) error) strs {
				return stream.TryFilterRecords(s, func(_ context.Context, r rec) (bool, error) { return !r.NoKey, try(r) })
			},
			want: []string{"a=shaky@1", "b@4"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := run(t, func(s strs) strs {
				return c.f(s, shaky()).OnError(failure.Retry(2, time.Millisecond, time.Second, failure.Skip()))
			}, "a=shaky", "a=bad", "a=drop", "b", "-=x")
			assert.Equal(t, c.want, x.out)
			assert.Equal(t, map[string]int{graph.ProcessSkipped: 1, "not wanted": 1}, x.dropped)
		})
	}
}

func TestTry_SiblingsOfAFailedStepReceiveTheRecord(t *testing.T) {
	try := func(s strs, digit string) strs {
		return stream.TryMapValues(s, func(_ context.Context, r rec) (string, error) {
			if digit == "2" && r.Value == "boom" {
				return "", errors.New("boom")
			}
			return r.Value + digit, nil
		}).OnError(failure.Skip())
	}
	x := run(t, func(s strs) strs { return stream.Merge(try(s, "1"), try(s, "2"), try(s, "3")) }, "k=boom")
	assert.Equal(t, []string{"k=boom1@1", "k=boom3@1"}, x.out)
}

func TestTry_DefaultPolicyStops(t *testing.T) {
	top := build(t, func(b *stream.Builder) {
		stream.TryForEach(stream.From(b, in), func(context.Context, rec) error { return errors.New("boom") }).Named("each")
	})
	err := testdriver.Input(testdriver.New(t, top), in).SendErr(record("k=v"))
	require.ErrorContains(t, err, "boom")
	require.ErrorContains(t, err, `"each"`)
	require.ErrorContains(t, err, "try_test.go")
}

func TestTimeout_EndsTheContextOfOneCall(t *testing.T) {
	calls := 0
	x := run(t, func(s strs) strs {
		return stream.TryFilterRecords(s, func(ctx context.Context, _ rec) (bool, error) {
			if calls++; calls == 1 {
				<-ctx.Done()
				return false, ctx.Err()
			}
			_, bounded := ctx.Deadline()
			return bounded, ctx.Err()
		}, stream.Timeout(time.Millisecond*20)).OnError(failure.Retry(1, time.Millisecond, time.Second, failure.Stop()))
	}, "k=v")
	assert.Equal(t, []string{"k=v@1"}, x.out)
	require.Len(t, x.d.Failures(), 1)
	require.ErrorIs(t, x.d.Failures()[0].Err, context.DeadlineExceeded)
	require.ErrorContains(t, x.d.Failures()[0].Err, "after its timeout of 20ms")
}

func TestPanic_NamesItsStep(t *testing.T) {
	boom := func(rec) rec { panic("boom") }
	top := build(t, func(b *stream.Builder) {
		s := stream.Peek(stream.From(b, in), func(rec) {}).Named("peek")
		stream.Peek(stream.MapRecords(s, boom).Named("culprit"), func(rec) {})
	})
	err := testdriver.Input(testdriver.New(t, top), in).SendErr(record("k=v"))
	require.ErrorContains(t, err, "culprit")
}

// full refuses what is written to it.
type full struct{ calls int }

func (w *full) Write([]byte) (int, error) {
	w.calls++
	return 0, errors.New("disk full")
}

func TestPrint_FailureGoesToThePolicy(t *testing.T) {
	w := &full{}
	top := build(t, func(b *stream.Builder) {
		stream.Print(stream.From(b, in), w, "in").OnError(failure.Retry(2, time.Millisecond, time.Second, failure.Skip()))
	})
	d := testdriver.New(t, top)
	testdriver.Input(d, in).SendRecord(record("k=v"))
	assert.Equal(t, map[string]int{graph.ProcessSkipped: 1}, d.Dropped())
	assert.Equal(t, 3, w.calls)
	b := stream.NewBuilder()
	stream.Print(stream.From(b, in), nil, "in")
	_, err := b.Build()
	require.ErrorContains(t, err, "stream.Print: its writer is nil")
}
