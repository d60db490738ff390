package conformance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
)

var processing = map[string]program{
	"punctuate-stream-time-10": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in"), "p", func(c *ctx) (func(rec) error, error) {
			c.EveryStreamTime(ms(10), tick(c, "st"))
			return func(r rec) error {
				c.Forward(stream.WithValue(r, value(r)+at("/st=", c.StreamTime())))
				return nil
			}, nil
		}), "out")
	}},
	"punctuate-wall-clock-10": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in"), "p", func(c *ctx) (func(rec) error, error) {
			c.EveryWallClock(ms(10), tick(c, "wc"))
			return func(r rec) error {
				c.Forward(stream.WithValue(r, value(r)+at("/wc=", c.Now())))
				return nil
			}, nil
		}), "out")
	}},
	"punctuate-both-with-cancel": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in"), "p", func(c *ctx) (func(rec) error, error) {
			var st *topology.Timer
			calls, forward := 0, tick(c, "st")
			st = c.EveryStreamTime(ms(7), func(t time.Time) error {
				if calls++; calls == 3 {
					st.Stop()
				}
				return forward(t)
			})
			c.EveryWallClock(ms(15), tick(c, "wc"))
			return forwarding(c), nil
		}), "out")
	}},
	"punctuate-scheduled-by-records": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in"), "p", func(c *ctx) (func(rec) error, error) {
			var timer *topology.Timer
			return func(r rec) error {
				if (r.Value == "start" || r.Value == "stop") && timer != nil {
					timer.Stop()
				}
				if r.Value == "start" {
					timer = c.EveryStreamTime(ms(10), tick(c, "tick"))
				}
				c.Forward(r)
				return nil
			}, nil
		}), "out")
	}},
	"punctuate-drains-store": {build: func(b *stream.Builder) { to(stream.Process(from(b, "in"), "p", drain, buffer), "out") }},
	"task-idle-100-merge": {options: []testdriver.Option{testdriver.MaxIdle(ms(100))}, build: func(b *stream.Builder) {
		to(stream.Merge(from(b, "left"), from(b, "right")), "out")
	}},
	"task-idle-0-merge": {build: func(b *stream.Builder) { to(stream.Merge(from(b, "left"), from(b, "right")), "out") }},
	"timestamp-extractor-from-value": {build: func(b *stream.Builder) {
		to(stream.From(b, topic("in").Timestamp(func(r rec, _ time.Time) (time.Time, bool) { return timeIn(r) })), "out")
	}},
	"timestamp-extractor-partition-time": {build: func(b *stream.Builder) {
		to(stream.From(b, topic("in").Timestamp(func(r rec, latest time.Time) (time.Time, bool) {
			if t, ok := timeIn(r); ok {
				return t, true
			}
			return latest, !latest.IsZero()
		})), "out")
	}},
	"deserialization-error-continue": {options: []testdriver.Option{testdriver.OnDecodeError(failure.Skip())}, build: readChoosy},
	"deserialization-error-fail":     {build: readChoosy},
	"processing-error-continue": {options: []testdriver.Option{testdriver.OnProcessError(failure.Skip())}, build: func(b *stream.Builder) {
		in := from(b, "in")
		to(mapTexts(in, func(v string) string { return v + "1" }), "out")
		to(failAtBoom(in, "2"), "out")
		to(mapTexts(in, func(v string) string { return v + "3" }), "out")
	}},
	"processing-error-fail": {build: func(b *stream.Builder) { to(failAtBoom(from(b, "in"), ""), "out") }},
	"production-serialization-error-continue": {options: []testdriver.Option{testdriver.OnProduceError(failure.Skip())}, build: func(b *stream.Builder) {
		stream.To(from(b, "in"), stream.NewTopic("out", serde.String, choosy))
	}},
	"record-metadata": {build: func(b *stream.Builder) {
		to(stream.Process(from(b, "in1", "in2"), "p", func(c *ctx) (func(rec) error, error) {
			c.EveryWallClock(ms(10), func(t time.Time) error {
				r := rec{Key: "wc", Time: t}
				c.Forward(stream.WithValue(r, metadata(r)))
				return nil
			})
			return func(r rec) error {
				c.Forward(stream.WithValue(r, metadata(r)))
				return nil
			}, nil
		}), "out")
	}},
	"deduplicate-with-store": {build: func(b *stream.Builder) {
		to(stream.ProcessValues(from(b, "in"), "p", deduplicate, seen), "out")
	}},
}

var (
	buffer = store.NewKeyValue("buf", serde.String, serde.String)
	seen   = store.NewKeyValue("seen", serde.String, serde.String)
)

// choosy refuses texts that start with "!".
var choosy = serde.Func(
	func(dst []byte, v string) ([]byte, error) { return append(dst, v...), refuse(v) },
	func(b []byte) (string, error) { return string(b), refuse(string(b)) })

func refuse(v string) error {
	if strings.HasPrefix(v, "!") {
		return errors.New("refused")
	}
	return nil
}

func readChoosy(b *stream.Builder) {
	to(stream.From(b, stream.NewTopic("in", serde.String, choosy)), "out")
}

func failAtBoom(s texts, suffix string) texts {
	return stream.TryMapRecordValues(s, func(_ context.Context, r rec) (string, bool, error) {
		if r.Value == "boom" {
			return "", false, errors.New("boom")
		}
		if suffix == "" {
			return r.Value, !r.Tombstone, nil
		}
		return value(r) + suffix, true, nil
	})
}

// tick forwards the time of a punctuation under a key.
func tick(c *ctx, key string) func(time.Time) error {
	return func(t time.Time) error {
		c.Forward(rec{Key: key, Value: at("p", t), Time: t})
		return nil
	}
}

func forwarding(c *ctx) func(rec) error {
	return func(r rec) error {
		c.Forward(r)
		return nil
	}
}

// timeIn finds the time in a value of the form N:text.
func timeIn(r rec) (time.Time, bool) {
	n, _, ok := strings.Cut(r.Value, ":")
	if !ok || strings.Trim(n, "0123456789") != "" {
		return time.Time{}, false
	}
	ms, err := strconv.ParseInt(n, 10, 64)
	return time.UnixMilli(ms), err == nil
}

func metadata(r rec) string {
	if s := r.Source(); s.Topic != "" {
		return fmt.Sprintf("%s/%d/%d", s.Topic, s.Partition, s.Offset)
	}
	return "null/-1/-1"
}

// drain keeps records in the buffer and forwards all of it now and then.
func drain(c *ctx) (func(rec) error, error) {
	buf := buffer.In(c)
	c.EveryStreamTime(ms(20), func(t time.Time) error {
		for row, err := range buf.All() {
			if err != nil {
				return err
			}
			c.Forward(rec{Key: row.Key, Value: row.Value, Time: t})
			if err := buf.Delete(row.Key); err != nil {
				return err
			}
		}
		return nil
	})
	return func(r rec) error {
		switch {
		case r.NoKey:
			return nil
		case r.Tombstone:
			return buf.Delete(r.Key)
		}
		return buf.Put(r.Key, r.Value)
	}, nil
}

// deduplicate forwards what differs from the last value of its key.
func deduplicate(c *stream.ValueContext[string]) (func(rec) error, error) {
	last := seen.In(c)
	forward := func(r rec) {
		if r.Tombstone {
			c.ForwardTombstone()
		} else {
			c.Forward(r.Value)
		}
	}
	return func(r rec) error {
		if r.NoKey {
			forward(r)
			return nil
		}
		old, ok, err := last.Get(r.Key)
		if err != nil || ok == !r.Tombstone && old == r.Value {
			return err
		}
		if r.Tombstone {
			err = last.Delete(r.Key)
		} else {
			err = last.Put(r.Key, r.Value)
		}
		forward(r)
		return err
	}, nil
}
