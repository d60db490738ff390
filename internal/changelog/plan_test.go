package changelog

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

func TestCheckpointIsTrustedOrNot(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	one, two := kafka.TopicID{1}, kafka.TopicID{2}
	x := Extent{ID: one, Start: 10, End: 100, DeleteRetention: 24 * time.Hour}
	for name, c := range map[string]struct {
		at   store.Checkpoint
		none bool
		from int64
		why  string
	}{
		"none":                       {none: true, from: 10},
		"in the middle":              {at: store.Checkpoint{TopicID: one, Offset: 50, Time: now}, from: 50},
		"at the end":                 {at: store.Checkpoint{TopicID: one, Offset: 100, Time: now}, from: 100},
		"at the end, a year ago":     {at: store.Checkpoint{TopicID: one, Offset: 100, Time: now.Add(-9000 * time.Hour)}, from: 100},
		"at the start":               {at: store.Checkpoint{TopicID: one, Offset: 10, Time: now}, from: 10},
		"before the start":           {at: store.Checkpoint{TopicID: one, Offset: 9, Time: now}, from: 10, why: "before the changelog's start"},
		"beyond the end":             {at: store.Checkpoint{TopicID: one, Offset: 101, Time: now}, from: 10, why: "beyond the changelog's end"},
		"another topic":              {at: store.Checkpoint{TopicID: two, Offset: 50, Time: now}, from: 10, why: "another one"},
		"another topic, same end":    {at: store.Checkpoint{TopicID: two, Offset: 100, Time: now}, from: 10, why: "another one"},
		"a broker without topic ids": {at: store.Checkpoint{Offset: 50, Time: now}, from: 50},
		"23 hours ago":               {at: store.Checkpoint{TopicID: one, Offset: 50, Time: now.Add(-23 * time.Hour)}, from: 50},
		"more than 23 hours ago":     {at: store.Checkpoint{TopicID: one, Offset: 50, Time: now.Add(-23*time.Hour - time.Second)}, from: 10, why: "deletions since"},
	} {
		from, why := x.from(c.at, !c.none, now)
		assert.Equal(t, c.from, from, name)
		if c.why == "" {
			assert.Empty(t, why, name)
		} else {
			assert.Contains(t, why, c.why, name)
		}
	}
}

func TestDeleteRetention(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 24 * time.Hour, "1000": time.Second, "-1": 24 * time.Hour, "x": 24 * time.Hour, "9223372036854775807": 24 * time.Hour,
	} {
		assert.Equal(t, want, DeleteRetention(map[string]string{"delete.retention.ms": value}), value)
	}
	short := Extent{DeleteRetention: time.Hour}
	assert.Equal(t, 30*time.Minute, short.trusted(), "an hour less than a short retention would trust nothing")
}

// What a topic's records did to a store is asked of the user's serdes: what does not decode was let pass when it was processed, and a
// panic is an error.
func TestRowsOfATopicInPlaceOfAChangelog(t *testing.T) {
	l := &Log{Row: func(r *kafka.Record) (store.Change, bool, error) {
		switch string(r.Value) {
		case "undecodable":
			return store.Change{}, false, errors.New("no text")
		case "panic":
			panic("boom")
		}
		return store.Change{Key: r.Key, Value: append([]byte("<"), r.Value...), Time: r.Time}, r.Key != nil, nil
	}}
	record := func(offset int64, key, value string) kafka.Record {
		r := kafka.Record{Offset: offset, Value: []byte(value), Time: 9}
		if key != "" {
			r.Key = []byte(key)
		}
		return r
	}
	b := &kafka.Batch{Records: []kafka.Record{record(3, "a", "1"), record(4, "", "no key"), record(5, "a", "undecodable"), record(6, "b", "2"), record(7, "c", "panic")}}
	got, err := l.changes(nil, b, 7)
	require.NoError(t, err)
	assert.Equal(t, []store.Change{{Key: []byte("a"), Value: []byte("<1"), Time: 9}, {Key: []byte("b"), Value: []byte("<2"), Time: 9}}, got)
	_, err = l.changes(nil, b, 8)
	require.ErrorContains(t, err, "record at offset 7: panic: boom")
	assert.ErrorContains(t, err, "plan_test.go")
}
