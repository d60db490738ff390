package sarama

import "github.com/millstream-go/millstream/internal/kafka/recordbatch"

// identity is a producer id with its epoch. A partition has its own: the broker checks sequences
// per id and partition, so a partition that has to begin again gets another id, and the retries of
// the others go on under theirs.
type identity struct {
	id    int64
	epoch int16
}

// batch is what is written to a partition at a time. It belongs to the dispatcher; while it is
// under way the sender reads it.
type batch struct {
	partition *producePartition
	spans     []span
	maxSize   int // upper bound, before compression
	count     int

	identity *identity
	sequence int32
	// maybeAppended says that an attempt may be in the log without our knowing: the batch must be
	// written again as it is, or refused together with its sequence (invariant 4).
	maybeAppended bool
}

// assignSequence sets the batch's place in the sequence. A batch that may have been appended stays
// as it is (keeps 4).
func (b *batch) assignSequence(state *sendState) {
	if !b.maybeAppended {
		b.identity, b.sequence = state.identity, state.sequence
	}
}

func (b *batch) add(s span) {
	b.spans = append(b.spans, s)
	b.count += s.count()
	b.maxSize += s.maxSize()
}

// header returns what the batch says besides its records.
func (b *batch) header() recordbatch.Header {
	return recordbatch.Header{ProducerID: b.identity.id, ProducerEpoch: b.identity.epoch,
		Sequence: b.sequence, Records: b.count}
}

// halves divides the batch in two.
func (b *batch) halves() (*batch, *batch) {
	first, second := &batch{partition: b.partition}, &batch{partition: b.partition}
	for _, s := range b.spans {
		before, after := s.split(min(max(b.count/2-first.count, 0), s.count()))
		if before.count() > 0 {
			first.add(before)
		}
		if after.count() > 0 {
			second.add(after)
		}
	}
	return first, second
}

// eachRecord calls f with the records one by one.
func (b *batch) eachRecord(f func(one span)) {
	for _, s := range b.spans {
		for s.count() > 0 {
			var one span
			one, s = s.split(1)
			f(one)
		}
	}
}

// without returns the batch without single records, given by their index. It may be empty.
func (b *batch) without(bad map[int32]bool) *batch {
	rest := &batch{partition: b.partition}
	i := int32(0)
	b.eachRecord(func(one span) {
		if !bad[i] {
			rest.add(one)
		}
		i++
	})
	return rest
}
