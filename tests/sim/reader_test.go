package sim

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millstream-go/millstream/internal/kafka"
)

// reader reads what is committed, while the history runs: who sees a part of a transaction has to see all of it soon. What one event leads
// to in a sub-topology is in one transaction: its copy, its row with the profile and what is sent on; and its tally in the output and in
// the changelog. So are the committed offsets behind it.
type reader struct {
	w      *world
	client *kgo.Client
	done   chan struct{}
	topics map[string]bool // read by now; of the goroutine of follow

	mu      sync.Mutex
	seen    map[string]*sightings // by event
	commits map[kafka.TopicPartition][]commitAt
}

// whole is how long after a part of a transaction all of it has to be seen.
const whole = 2 * time.Second

// sightings are where and when an event was seen, in each place.
type sightings [places]sighting

type sighting struct {
	at time.Time // zero: it was not seen
	kafka.TopicPartition
	offset int64
}

// The places of an event: those of the first sub-topology, then those of the second one.
const (
	inCopies = iota
	inEnriched
	inRepartitioned
	inTallies
	inChangelog

	places
)

// commitAt is that a committed offset was seen.
type commitAt struct {
	offset int64
	at     time.Time
}

// readerRack is how requests of the reader are known, which no fault is for.
const readerRack = "reader"

func newReader(w *world) *reader {
	r := &reader{w: w, done: make(chan struct{}), topics: map[string]bool{}, seen: map[string]*sightings{},
		commits: map[kafka.TopicPartition][]commitAt{}}
	// A partition whose leader has gone is asked for again at once, until metadata are old enough to be asked for: on a network without
	// latency that takes no time, and so has no end.
	net := newNetwork(w, 5*time.Millisecond)
	net.traps = &traps{}
	w.outside = append(w.outside, net)
	var err error
	// Fetches that wait for more than there ever is are few.
	r.client, err = kgo.NewClient(kgo.SeedBrokers(w.b.Brokers()...), kgo.Dialer(net.dial), kgo.DisableClientMetrics(), kgo.Rack(readerRack),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMinBytes(1<<20), kgo.FetchMaxWait(500*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.MaxVersions(kversion.V2_7_0())) // markers know topics by their names
	require.NoError(w.t, err)
	go r.read()
	return r
}

// follow reads topics once they exist, and notes what the group has committed. It is called every second.
func (r *reader) follow(group *kfake.GroupInfo) {
	for _, topic := range []string{"copies", "enriched", "tallies", repartitioned, changelogOf("tally")} {
		if r.topics[topic] || r.w.b.Cluster().TopicInfo(topic) == nil {
			continue
		}
		r.topics[topic] = true
		from := map[int32]kgo.Offset{}
		for p := range r.w.partitions {
			from[int32(p)] = kgo.NewOffset().At(0)
		}
		r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	}
	if group == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, topic := range []string{eventsTopic, repartitioned} {
		for p, c := range group.Commits[topic] {
			tp := kafka.TopicPartition{Topic: topic, Partition: p}
			r.commits[tp] = append(r.commits[tp], commitAt{c.Offset, time.Now()})
		}
	}
}

func (r *reader) read() {
	defer close(r.done)
	for {
		fetches := r.client.PollFetches(r.w.ctx)
		if r.w.ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		r.mu.Lock()
		fetches.EachRecord(r.see)
		r.mu.Unlock()
	}
}

// see notes a record.
func (r *reader) see(rec *kgo.Record) {
	value := string(rec.Value)
	switch rec.Topic {
	case "copies":
		r.note(idOf(value), inCopies, rec)
	case "enriched":
		id, _, _ := strings.Cut(value, " ")
		r.note(id, inEnriched, rec)
	case repartitioned:
		r.note(idOf(value), inRepartitioned, rec)
	case "tallies":
		r.noteLast(value, inTallies, rec)
	default:
		r.noteLast(value, inChangelog, rec)
	}
}

// noteLast notes those events of a tally that are new in it.
func (r *reader) noteLast(tally string, in int, rec *kgo.Record) {
	ids := strings.Fields(tally)
	for i := len(ids) - 1; i >= 0 && r.note(ids[i], in, rec); i-- {
	}
}

// note reports whether the event was not seen there before.
func (r *reader) note(id string, in int, rec *kgo.Record) (isNew bool) {
	s := r.seen[id]
	if s == nil {
		s = &sightings{}
		r.seen[id] = s
	}
	if !s[in].at.IsZero() {
		return false
	}
	s[in] = sighting{time.Now(), kafka.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}, rec.Offset}
	return true
}

func (r *reader) close() {
	r.client.Close()
	<-r.done
}

// judge checks what was seen.
func (r *reader) judge() {
	compacted := r.w.compacted() // what is there of a key is later than what was removed
	// Copies: a look into a log waits, and nobody may wait for a mutex meanwhile.
	r.mu.Lock()
	seen, commits := make(map[string]sightings, len(r.seen)), maps.Clone(r.commits)
	for id, s := range r.seen {
		seen[id] = *s
	}
	r.mu.Unlock()
	l := r.w.ledger
	l.mu.Lock()
	sources, counts := maps.Clone(l.sources), map[string]place{}
	for id, at := range l.repeated {
		for p := range at { // there is one
			counts[id] = p
		}
	}
	l.mu.Unlock()
	for id, s := range seen {
		r.judgePart(id, s[inCopies:inTallies], sources[id], commits[kafka.TopicPartition{Topic: eventsTopic, Partition: sources[id].partition}])
		tallies := s[inTallies:places]
		if compacted {
			tallies = s[inTallies:inChangelog]
		}
		r.judgePart(id, tallies, counts[id], commits[kafka.TopicPartition{Topic: repartitioned, Partition: counts[id].partition}])
	}
}

// judgePart checks what one transaction has of an event, which was read from a place of a partition with these committed offsets.
func (r *reader) judgePart(id string, seen []sighting, from place, commits []commitAt) {
	var first sighting
	for _, s := range seen {
		if !s.at.IsZero() && (first.at.IsZero() || s.at.Before(first.at)) {
			first = s
		}
	}
	if first.at.IsZero() {
		return
	}
	for _, s := range seen {
		if s.at.Sub(first.at) <= whole {
			continue
		}
		// The partition may have had an open transaction of another one, or its broker was away: what counts is when it was committed.
		ended, ok := r.w.committedAt(s)
		if ok && ended.Sub(first.at) > whole {
			r.w.fail("part", "%s was seen in %v, and in %v %v later, where it was committed %v later", id, first.TopicPartition, s.TopicPartition,
				s.at.Sub(first.at), ended.Sub(first.at))
		}
	}
	for _, c := range commits {
		if c.at.Sub(first.at) >= whole {
			if c.offset <= from.offset {
				r.w.fail("part", "%s was seen in %v, and %v later the committed offset of its input is %d, not behind %d", id, first.TopicPartition,
					c.at.Sub(first.at), c.offset, from.offset)
			}
			return
		}
	}
}

// committedAt returns when the marker was written behind a record; ok is false when neither is in the log any more.
func (w *world) committedAt(s sighting) (at time.Time, ok bool) {
	if info := w.b.Cluster().PartitionInfo(s.Topic, s.Partition); info == nil || info.LogStartOffset > s.offset {
		return at, false
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(w.b.Brokers()...), kgo.Dialer(w.b.Dialer()), kgo.DisableClientMetrics(), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.Topic: {s.Partition: kgo.NewOffset().At(s.offset)}}))
	if err != nil {
		w.fail("read", "%v: %v", s.TopicPartition, err)
		return at, false
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	producer := int64(-1)
	for ctx.Err() == nil {
		for _, rec := range c.PollFetches(ctx).Records() {
			switch {
			case producer < 0 && rec.Offset != s.offset: // compaction has removed it
				return at, false
			case producer < 0:
				producer = rec.ProducerID
			case rec.ProducerID == producer && rec.Attrs.IsControl():
				return rec.Timestamp, true
			}
		}
	}
	return at, false
}

// notOfReader reports whether a fault may be for a request.
func notOfReader(r kmsg.Request) bool {
	f, is := r.(*kmsg.FetchRequest)
	return !is || f.Rack != readerRack
}
