package kafka

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Limits are the sizes and times of records that a topic's configuration allows.
type Limits struct {
	// Bytes is max.message.bytes, the size of a batch after compression; 0: not known.
	Bytes int
	// Before and After are how long before and after the broker's clock the time of a record may be,
	// in milliseconds. math.MaxInt64 is no limit.
	Before, After int64
}

// The settings of topics.
const (
	maxMessageBytes = "max.message.bytes"
	timestampType   = "message.timestamp.type"
	timestampBefore = "message.timestamp.before.max.ms" // since Kafka 3.6 (KIP-937), and so is the next one
	timestampAfter  = "message.timestamp.after.max.ms"
	timestampEither = "message.timestamp.difference.max.ms" // before Kafka 4.0
)

// LimitsOf reads the configuration of a topic. A setting that is missing, or cannot be read, is no
// limit.
func LimitsOf(config map[string]string) Limits {
	l := Limits{Before: math.MaxInt64, After: math.MaxInt64}
	if n, err := strconv.Atoi(config[maxMessageBytes]); err == nil {
		l.Bytes = n
	}
	if config[timestampType] == "LogAppendTime" { // the broker sets each record's time
		return l
	}
	l.Before, l.After = millis(config, timestampBefore), millis(config, timestampAfter)
	either := millis(config, timestampEither)
	l.Before, l.After = min(l.Before, either), min(l.After, either)
	return l
}

// millis returns a setting in milliseconds.
func millis(config map[string]string, name string) int64 {
	if n, err := strconv.ParseInt(config[name], 10, 64); err == nil && n >= 0 {
		return n
	}
	return math.MaxInt64
}

// Timed reports whether there are times that the topic does not accept.
func (l Limits) Timed() bool { return l.Before != math.MaxInt64 || l.After != math.MaxInt64 }

// CheckTime returns an ErrTimestamp that names the setting if the topic does not accept a record of
// the time at. Both times are in milliseconds since 1970.
func (l Limits) CheckTime(at, now int64) error {
	setting, limit := "", int64(0)
	switch ahead := at - now; {
	case ahead > l.After:
		setting, limit = timestampAfter, l.After
	case -ahead > l.Before:
		setting, limit = timestampBefore, l.Before
	default:
		return nil
	}
	return fmt.Errorf("%w: its time is %s, and %s of the topic is %d",
		ErrTimestamp, time.UnixMilli(at).UTC().Format(time.RFC3339Nano), setting, limit)
}
