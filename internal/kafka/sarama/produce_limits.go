package sarama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// Send refuses a record that its topic does not accept, while its caller still knows what it was
// made of. For most records nobody has to read the topic's configuration for that.
const (
	// uncheckedSize is the size up to which a record is queued without knowing its topic's limit.
	// Nobody sets a limit so low, and if somebody does, the broker refuses the record.
	uncheckedSize = 1 << 10
	// uncheckedAhead and uncheckedBehind, in milliseconds, are how far from now the time of a record
	// may be for the same reason.
	uncheckedAhead  = 10 * 60 * 1000
	uncheckedBehind = 60 * 60 * 1000
	// maxRecordSize is what fits into a request whatever the topic accepts: Sarama ends requests at
	// 100 MB.
	maxRecordSize = 64 << 20
	// limitsTimeout bounds reading a topic's limits.
	limitsTimeout = 5 * time.Second
	// limitsTTL is how long a record that exceeds a limit is refused without reading the limit again.
	limitsTTL = time.Minute
)

// topicLimits is what a topic accepts.
type topicLimits struct {
	kafka.Limits
	until time.Time // when they are to be read again
	known bool      // from the topic's configuration
}

// String names the setting that limits sizes, and its value.
func (l *topicLimits) String() string {
	if !l.known {
		return fmt.Sprintf("Kafka's default of message.max.bytes is %d, "+
			"and the topic's max.message.bytes could not be read", l.Bytes)
	}
	return fmt.Sprintf("the topic's max.message.bytes "+
		"(where it has none of its own, message.max.bytes of the brokers) is %d", l.Bytes)
}

// checkSize returns an error if a record of that size exceeds the topic's limit.
func (p *producer) checkSize(ctx context.Context, part *producePartition, size int) error {
	if size > maxRecordSize {
		return fmt.Errorf("%s: %w: %d bytes; this client writes records of at most %d bytes, "+
			"which no setting changes: write smaller ones",
			part.TopicPartition, kafka.ErrTooLarge, size, maxRecordSize)
	}
	if p.compression != recordbatch.None {
		return nil // the limit is on the compressed batch: only the broker can tell
	}
	// An operator may have raised the limit since it was read.
	if part.limits == nil || size+recordbatch.HeaderBytes > part.limits.Bytes && time.Now().After(part.limits.until) {
		if err := p.readLimits(ctx, part); err != nil {
			return err
		}
	}
	if size+recordbatch.HeaderBytes > part.limits.Bytes {
		return fmt.Errorf("%s: %w: %d bytes, but %s: raise it, or write smaller records",
			part.TopicPartition, kafka.ErrTooLarge, size+recordbatch.HeaderBytes, part.limits)
	}
	return nil
}

// checkTime returns an error if the topic does not accept records of that time. Otherwise it widens
// the range of times in which Send does not ask again.
func (p *producer) checkTime(ctx context.Context, part *producePartition, at int64) error {
	now := time.Now()
	ms := now.UnixMilli()
	if at < 0 || at >= ms-uncheckedBehind && at <= ms+uncheckedAhead {
		part.checkedFrom, part.checkedTo = ms-uncheckedBehind, ms+uncheckedAhead
		return nil
	}
	if part.limits == nil || now.After(part.limits.until) && part.limits.CheckTime(at, ms) != nil {
		if err := p.readLimits(ctx, part); err != nil {
			return err
		}
	}
	if err := part.limits.CheckTime(at, ms); err != nil {
		return fmt.Errorf("%s: %w", part.TopicPartition, err)
	}
	part.checkedFrom, part.checkedTo = min(part.checkedFrom, at), max(part.checkedTo, at)
	// The oldest time that the topic accepts moves on with the clock, so that what was checked is not
	// true for long.
	if part.limits.Before != math.MaxInt64 {
		part.checkedFrom = ms - uncheckedBehind
	}
	return nil
}

// readLimits reads what the partition's topic accepts, for all partitions of the topic.
func (p *producer) readLimits(ctx context.Context, part *producePartition) error {
	limits := &topicLimits{Limits: kafka.LimitsOf(nil), until: time.Now().Add(limitsTTL)}
	// While no broker answers, the configured limit has to do: the caller should not wait for long,
	// and the broker checks as well.
	short, cancel := context.WithTimeout(ctx, limitsTimeout)
	defer cancel()
	err := p.pool.withToken(short, func(ctx context.Context) error {
		conf, err := p.pool.topicConfig(ctx, part.Topic)
		if err == nil {
			limits.Limits = kafka.LimitsOf(conf)
			limits.known = limits.Bytes > 0
		}
		return err
	})
	if limits.Bytes == 0 {
		limits.Bytes = p.client.cfg.MaxMessageBytes
	}
	if ctx.Err() != nil || errors.Is(err, kafka.ErrClosed) {
		return err
	}
	for _, other := range p.partitions {
		if other.Topic == part.Topic {
			other.limits = limits
		}
	}
	return nil
}
