package changelog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

func TestRestoreFrom_CheckpointTrust(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	one, two := kafka.TopicID{1}, kafka.TopicID{2}
	x := Bounds{ID: one, Start: 10, End: 100, DeleteRetention: 24 * time.Hour}
	for name, c := range map[string]struct {
		at    storage.Checkpoint
		none  bool
		from  int64
		why   string
		doubt bool
	}{
		"none":                       {none: true, from: 10},
		"in the middle":              {at: storage.Checkpoint{TopicID: one, Offset: 50, Time: now}, from: 50},
		"at the end":                 {at: storage.Checkpoint{TopicID: one, Offset: 100, Time: now}, from: 100},
		"at the end, a year ago":     {at: storage.Checkpoint{TopicID: one, Offset: 100, Time: now.Add(-9000 * time.Hour)}, from: 100},
		"at the start":               {at: storage.Checkpoint{TopicID: one, Offset: 10, Time: now}, from: 10},
		"before the start":           {at: storage.Checkpoint{TopicID: one, Offset: 9, Time: now}, from: 10, why: "before the changelog's start"},
		"beyond the end":             {at: storage.Checkpoint{TopicID: one, Offset: 101, Time: now}, from: 10, why: "beyond the changelog's end"},
		"another topic":              {at: storage.Checkpoint{TopicID: two, Offset: 50, Time: now}, from: 10, why: "not the one of the checkpoint"},
		"another topic, same end":    {at: storage.Checkpoint{TopicID: two, Offset: 100, Time: now}, from: 10, why: "not the one of the checkpoint"},
		"a broker without topic ids": {at: storage.Checkpoint{Offset: 50, Time: now}, from: 50},
		"23 hours ago":               {at: storage.Checkpoint{TopicID: one, Offset: 50, Time: now.Add(-23 * time.Hour)}, from: 50},
		"more than 23 hours ago":     {at: storage.Checkpoint{TopicID: one, Offset: 50, Time: now.Add(-23*time.Hour - time.Second)}, from: 50, why: "tombstones written since", doubt: true},
		"an hour ahead":              {at: storage.Checkpoint{TopicID: one, Offset: 50, Time: now.Add(time.Hour)}, from: 50},
		"more than an hour ahead":    {at: storage.Checkpoint{TopicID: one, Offset: 50, Time: now.Add(time.Hour + time.Second)}, from: 50, doubt: true, why: "clock has not reached"},
		"at the end, a year ahead":   {at: storage.Checkpoint{TopicID: one, Offset: 100, Time: now.Add(9000 * time.Hour)}, from: 100},
	} {
		from, distrust, doubt := x.restoreFrom(c.at, !c.none, now)
		why := distrust + doubt
		assert.Equal(t, c.doubt, doubt != "", name)
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
	short := Bounds{DeleteRetention: time.Hour}
	assert.Equal(t, 30*time.Minute, short.maxCheckpointAge(), "an hour less than a short retention would trust nothing")
}
