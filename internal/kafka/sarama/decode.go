package sarama

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// decoder turns what a response holds of one partition into a batch: control records and, for a read_committed reader, the
// records of aborted transactions are left out, and the position passes over them.
type decoder struct {
	committed bool
	pos       int64
	partial   bool // the response ended inside a batch

	aborted []*sarama.AbortedTransaction // by first offset
	active  map[int64]bool               // producers whose transaction at this point is an aborted one
}

// perRecord is about what a record holds in memory besides its bytes: Sarama's record and ours.
const perRecord = 200

func (d *decoder) decode(b *sarama.FetchResponseBlock) (*kafka.Batch, error) {
	out := &kafka.Batch{Next: d.pos, HighWatermark: b.HighWaterMarkOffset, LastStable: b.LastStableOffset, LogStart: b.LogStartOffset}
	d.partial = b.Partial
	if d.committed {
		d.aborted = b.AbortedTransactions
		slices.SortFunc(d.aborted, func(x, y *sarama.AbortedTransaction) int { return int(min(max(x.FirstOffset-y.FirstOffset, -1), 1)) })
	}
	n := 0
	for _, rs := range b.RecordsSet {
		if rs.RecordBatch != nil && !rs.RecordBatch.Control {
			n += len(rs.RecordBatch.Records)
		}
	}
	if n > 0 {
		out.Records = make([]kafka.Record, 0, n)
	}
	for _, rs := range b.RecordsSet {
		if rs.RecordBatch == nil {
			return nil, fmt.Errorf("offset %d is in the message format of Kafka before 0.11, which is not supported", d.pos)
		}
		if rs.RecordBatch.PartialTrailingRecord {
			d.partial = true
			break
		}
		d.batch(out, rs.RecordBatch)
	}
	if len(b.RecordsSet) == 0 {
		out.Next = max(out.Next, skipped(b))
	}
	return out, nil
}

// batch appends the records of one record batch that the reader is to see.
func (d *decoder) batch(out *kafka.Batch, rb *sarama.RecordBatch) {
	defer func() { out.Next = max(out.Next, rb.LastOffset()+1) }()
	d.enter(rb.LastOffset())
	if rb.Control {
		d.marker(rb)
		return
	}
	if rb.IsTransactional && d.active[rb.ProducerID] {
		return
	}
	base, appended := millis(rb.FirstTimestamp), int64(-1)
	if rb.LogAppendTime {
		appended = millis(rb.MaxTimestamp)
	}
	for _, r := range rb.Records {
		offset := rb.FirstOffset + r.OffsetDelta
		if offset < d.pos { // a batch is never cut by the broker: this one began before the position
			continue
		}
		t := appended
		if !rb.LogAppendTime {
			t = base + int64(r.TimestampDelta/time.Millisecond)
		}
		out.Bytes += len(r.Key) + len(r.Value) + perRecord
		out.Records = append(out.Records, kafka.Record{Key: r.Key, Value: r.Value, Headers: headers(r.Headers), Offset: offset, Time: t})
	}
}

// enter activates the aborted transactions that have begun by offset.
func (d *decoder) enter(offset int64) {
	for len(d.aborted) > 0 && d.aborted[0].FirstOffset <= offset {
		if d.active == nil {
			d.active = map[int64]bool{}
		}
		d.active[d.aborted[0].ProducerID] = true
		d.aborted = d.aborted[1:]
	}
}

// marker ends the producer's transaction. The key of a control record is its version and its kind, two bytes each; 0 is abort.
func (d *decoder) marker(rb *sarama.RecordBatch) {
	if len(rb.Records) > 0 && len(rb.Records[0].Key) >= 4 && binary.BigEndian.Uint16(rb.Records[0].Key[2:]) == 0 {
		delete(d.active, rb.ProducerID)
	}
}

// limit is the end of what the reader may see.
func (d *decoder) limit(b *sarama.FetchResponseBlock) int64 {
	if d.committed {
		return b.LastStableOffset
	}
	return b.HighWaterMarkOffset
}

func headers(hs []*sarama.RecordHeader) []kafka.Header {
	if len(hs) == 0 {
		return nil
	}
	out := make([]kafka.Header, len(hs))
	for i, h := range hs {
		out[i] = kafka.Header{Name: string(h.Key), Value: h.Value}
	}
	return out
}

// millis is the reverse of Sarama's decoding, which turns a time before 1970 ("none") into the zero Time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}

// skipped returns the offset after the batches of a block that holds no record at all: compaction leaves a producer's last batch
// in place, empty. Sarama drops empty batches and keeps where they end to itself; without that a reader would ask for them
// forever. Reading the field is the only use of reflection here, and TestEmptyBatches fails if it goes away.
func skipped(b *sarama.FetchResponseBlock) int64 {
	next := reflect.ValueOf(b).Elem().FieldByName("recordsNextOffset")
	if !next.IsValid() || next.Kind() != reflect.Pointer || next.IsNil() || next.Elem().Kind() != reflect.Int64 {
		return -1
	}
	return next.Elem().Int()
}
