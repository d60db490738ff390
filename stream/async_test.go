package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

// async sends records to a program whose commits the test makes, and returns its driver.
func async(t *testing.T, program func(in strs), records ...string) *testdriver.Driver {
	t.Helper()
	d := testdriver.New(t, build(t, func(b *stream.Builder) { program(stream.From(b, in)) }), testdriver.ManualCommit())
	for i, r := range records {
		testdriver.Input(d, in).SendRecord(record(r).At(time.UnixMilli(int64(i + 1))))
	}
	return d
}

func outputs(d *testdriver.Driver) (out []string) {
	for _, r := range testdriver.Output(d, text("out")).Read() {
		out = append(out, render(r))
	}
	return out
}

func TestAsync_CallsRunConcurrentlyAndResultsKeepOrder(t *testing.T) {
	gates := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{}), "c": make(chan struct{}), "d": make(chan struct{})}
	begun := make(chan string, 4)
	d := async(t, func(in strs) {
		s := stream.TryMapValues(in, func(_ context.Context, r rec) (string, error) {
			begun <- r.Key
			<-gates[r.Key]
			return strings.ToUpper(r.Value), nil
		}, stream.Async(3))
		stream.To(s, text("out"))
	}, "a=x", "b=y", "t") // the tombstone has its place among them
	for range 2 {
		<-begun // both calls are under way
	}
	assert.Empty(t, outputs(d))
	close(gates["b"])
	close(gates["c"])
	assert.Empty(t, outputs(d), "b has to wait for a")
	close(gates["a"])
	testdriver.Input(d, in).SendRecord(record("c=z").At(time.UnixMilli(4))) // there is room for it when a is done
	close(gates["d"])
	testdriver.Input(d, in).SendRecord(record("d=w").At(time.UnixMilli(2)))
	d.Commit()
	assert.Equal(t, []string{"a=X@1", "b=Y@2", "t@3", "c=Z@4", "d=W@2"}, outputs(d))
}

func TestAsync_ResultsAreThoseOfSyncCalls(t *testing.T) {
	for name, f := range map[string]func(in strs) strs{
		"TryMapRecordValues": func(in strs) strs {
			return stream.TryMapRecordValues(in, func(_ context.Context, r rec) (string, bool, error) { return r.Value, !r.Tombstone, nil }, stream.Async(2))
		},
		"TryMapRecords": func(in strs) strs {
			return stream.TryMapRecords(in, func(_ context.Context, r rec) (rec, error) { return r, nil }, stream.Async(2))
		},
		"TryFilterRecords": func(in strs) strs {
			return stream.TryFilterRecords(in, func(_ context.Context, r rec) (bool, error) { return r.Key != "no", nil }, stream.Async(2))
		},
		"TryFlatMapRecords": func(in strs) strs {
			return stream.TryFlatMapRecords(in, func(_ context.Context, r rec, emit func(rec)) error {
				if r.Key != "no" {
					emit(r)
				}
				return nil
			}, stream.Async(2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := async(t, func(in strs) {
				stream.To(stream.Filter(f(in), func(k, _ string) bool { return k != "no" }), text("out"))
			}, "a=1", "b", "no=2", "c=3", "d=4")
			d.Commit()
			assert.Equal(t, []string{"a=1@1", "b@2", "c=3@4", "d=4@5"}, outputs(d))
		})
	}
	t.Run("TryForEach", func(t *testing.T) {
		var n atomic.Int64
		d := async(t, func(in strs) {
			stream.TryForEach(in, func(context.Context, rec) error { n.Add(1); return nil }, stream.Async(2))
		}, "a=1", "b=2", "c=3")
		d.Commit()
		assert.EqualValues(t, 3, n.Load())
	})
}

func TestAsync_FailuresGoToThePolicyInOrder(t *testing.T) {
	var calls atomic.Int64
	d := async(t, func(in strs) {
		s := stream.TryMapValues(in, func(_ context.Context, r rec) (string, error) {
			if r.Value == "bad" || r.Value == "shaky" && calls.Add(1) < 3 {
				return "", errors.New("no")
			}
			if r.Value == "drop" {
				return "", failure.Drop("not wanted")
			}
			return r.Value, nil
		}, stream.Async(8)).OnError(failure.Retry(3, time.Millisecond, time.Second, failure.DeadLetter("dead")))
		stream.To(s, text("out"))
	}, "a=1", "b=shaky", "c=bad", "d=drop", "e=2")
	d.Commit()
	assert.Equal(t, []string{"a=1@1", "b=shaky@2", "e=2@5"}, outputs(d))
	assert.Equal(t, 1, d.Dropped()["not wanted"])
	dead := d.Raw("dead")
	require.Len(t, dead, 1)
	assert.Equal(t, "bad", string(dead[0].Value), "the record of the failure, not the one being processed")
}

func TestAsync_PanicNamesItsStep(t *testing.T) {
	d := async(t, func(in strs) {
		stream.TryForEach(in, func(context.Context, rec) error { panic("boom") }, stream.Async(2)).Named("culprit")
	}, "a=1")
	err := testdriver.Input(d, in).SendErr(record("b=2"))
	for i := 0; err == nil && i < 10; i++ { // the first call may still be running
		err = testdriver.Input(d, in).SendErr(record("c=3"))
	}
	require.ErrorContains(t, err, "boom")
	require.ErrorContains(t, err, "culprit")
	require.ErrorContains(t, err, "async_test.go", "the stack of the call")
}

// What follows keeps the time of the record, whatever is being processed when its call is done.
func TestAsync_ResultsHaveTheirRecordsContext(t *testing.T) {
	plain := store.NewKeyValue("plain", serde.String, serde.String)
	d := async(t, func(in strs) {
		s := stream.TryMapValues(in, func(_ context.Context, r rec) (string, error) { return r.Value, nil }, stream.Async(4))
		stream.To(stream.Process(s, "p", func(c *stream.Context[string, string]) (func(rec) error, error) {
			p := plain.In(c)
			return func(r rec) error {
				c.Forward(rec{Key: r.Key, Value: fmt.Sprint(r.Source().Offset)})
				return p.Put(r.Key, r.Value)
			}, nil
		}, plain), text("out"))
	}, "a=1", "b=2", "c=3")
	d.Commit()
	assert.Equal(t, []string{"a=0@1", "b=1@2", "c=2@3"}, outputs(d))
	for i, r := range d.Raw("testdriver-plain-changelog") {
		assert.EqualValues(t, i+1, r.Time.UnixMilli())
	}
}

func TestAsync_NothingIsInFlightAtACommit(t *testing.T) {
	release := make(chan struct{})
	var done atomic.Int64
	d := async(t, func(in strs) {
		s := stream.TryMapValues(in, func(ctx context.Context, r rec) (string, error) {
			select {
			case <-release:
				done.Add(1)
				return r.Value, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}, stream.Async(4))
		stream.To(s, text("out"))
	}, "a=1", "b=2")
	d.Restart() // nothing was committed: both are processed again
	assert.Empty(t, outputs(d))
	close(release)
	d.Commit()
	assert.Equal(t, []string{"a=1@1", "b=2@2"}, outputs(d))
	d.Restart()
	d.Commit()
	assert.Empty(t, outputs(d))
}

func TestAsync_Mistakes(t *testing.T) {
	b := stream.NewBuilder()
	stream.TryForEach(stream.From(b, in), func(context.Context, rec) error { return nil }, stream.Async(1))
	_, err := b.Build()
	require.ErrorContains(t, err, "stream.Async: 1 in flight, want at least 2")
}
