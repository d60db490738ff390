package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/stream"
)

// Large values and compression: the pass-through.

const (
	valuesTopic = "values-"
	copiedTopic = "copied-"
)

// valueKinds are measured one after the other. Text is JSON, which compresses well; the others do not compress.
var valueKinds = []struct {
	format, compression string
	bytes               int
}{
	{"noise", "none", 100},
	{"noise", "none", 1_000},
	{"noise", "none", 100_000},
	{"noise", "none", 1_000_000},
	{"text", "none", 1_000},
	{"text", "snappy", 1_000},
	{"text", "lz4", 1_000},
	{"text", "zstd", 1_000},
	{"text", "gzip", 1_000},
}

// valueOf returns the value of record n.
func valueOf(format string, size int, n int64) []byte {
	b := make([]byte, 0, size+256)
	if format == "text" {
		for i := int64(0); len(b) < size; i++ {
			b = fmt.Appendf(b, `{"id":%d,"customer":"customer-%08d","article":"article-%05d","quantity":%d},`, n, n%100_000, (n+i*37)%10_000, 1+i%9)
		}
		return b[:size]
	}
	for x := uint64(n); len(b) < size; {
		x = mix(x)
		b = appendKey(b, int64(x))
	}
	return b[:size]
}

var valuesProgram = program{app: func(b *stream.Builder, s spec) { pass(b, valuesTopic+s.Round, copiedTopic+s.Round) }}

func (b *bench) values(ctx context.Context, _ int64) error {
	t := b.report.sheet("Values and compression", "value", "compression", "CPU µs/record", "CPU ns/byte", "records/s", "RssAnon MB", "allocs/record")
	for i, kind := range valueKinds {
		if b.quick && i%3 != 0 {
			continue
		}
		// A gigabyte at most, and fewer of what takes the broker's time.
		records := min(b.records, 1_000_000_000/int64(kind.bytes))
		s := spec{Workload: "values", Kind: kindApp, Broker: b.broker, Records: records, Warm: records / 4, Round: fmt.Sprint(i),
			Compression: kind.compression, Profile: b.profileOf("values-" + fmt.Sprint(i))}
		s.StateDir = b.state(s) + s.Round
		if err := b.create(ctx, valuesTopic+s.Round, copiedTopic+s.Round); err != nil {
			return err
		}
		value := func(n int64) []byte { return valueOf(kind.format, kind.bytes, n) }
		if _, err := b.loadCompressed(ctx, valuesTopic+s.Round, records, kind.compression, value); err != nil {
			return err
		}
		r, m, err := measure(ctx, s)
		if err != nil {
			return err
		}
		seen := int64(0)
		err = b.read(ctx, copiedTopic+s.Round, func(r *kgo.Record) error {
			if n := number(r.Key); !bytes.Equal(r.Value, value(n)) {
				return fmt.Errorf("record %d has changed", n)
			}
			seen++
			return nil
		})
		if err := expect(err, copiedTopic+s.Round, seen, records); err != nil {
			return err
		}
		t.add(fmt.Sprintf("%d B of %s", kind.bytes, kind.format), kind.compression, fmt.Sprintf("%.2f", r.CPU),
			fmt.Sprintf("%.2f", 1000*r.CPU/float64(kind.bytes)), fmt.Sprintf("%.1f k", float64(r.Records)/r.Seconds/1000),
			fmt.Sprintf("%.0f", m.Anon), fmt.Sprintf("%.1f", r.Allocs))
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// loadValues writes n records whose keys are their numbers, and returns the bytes of their values.
func (b *bench) loadValues(ctx context.Context, topic string, n int64, value func(int64) []byte) (int64, error) {
	return b.loadCompressed(ctx, topic, n, "none", value)
}

func (b *bench) loadCompressed(ctx context.Context, topic string, n int64, compression string, value func(int64) []byte) (sum int64, err error) {
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
		"zstd": kgo.ZstdCompression(), "gzip": kgo.GzipCompression()}[compression]
	c, err := kgo.NewClient(kgo.SeedBrokers(b.broker), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(1_048_588),
		kgo.MaxBufferedBytes(64<<20), kgo.MaxBufferedRecords(1<<18))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	failed := make(chan error, 1)
	for i := range n {
		v := value(i)
		sum += int64(len(v))
		c.Produce(ctx, &kgo.Record{Topic: topic, Key: appendKey(nil, i), Value: v}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		return 0, err
	}
	select {
	case err := <-failed:
		return 0, err
	default:
		return sum, nil
	}
}

// profileOf is where the profile of one of several Apps of a workload goes.
func (b *bench) profileOf(name string) string {
	if b.profile == "" {
		return ""
	}
	return filepath.Join(b.profile, name)
}
