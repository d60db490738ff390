package recordbatch

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Errors of Decode besides those that are in a batch.
var (
	// ErrCorrupt is a batch that is not what the broker stored. Fetched again it may be whole.
	ErrCorrupt = errors.New("corrupt batch")
	// ErrOldFormat is a batch in a format that nobody has written since 2017.
	ErrOldFormat = errors.New("the message format of Kafka before 0.11 is not supported")
	// ErrLargeBatchWaits is a batch larger than a piece, which claimLarge did not allow yet.
	ErrLargeBatchWaits = errors.New("a large batch waits until another one is decompressed")

	// errPieceFull ends a piece: the next batch does not fit into it.
	errPieceFull = errors.New("the next batch does not fit")
)

// AbortedTransaction says that the producer's records from FirstOffset on, up to its abort marker,
// are not to be read.
type AbortedTransaction struct{ ProducerID, FirstOffset int64 }

// Batches are the record batches that a fetch response holds of one partition, one behind the
// other, and how far they have been decoded.
type Batches struct {
	bytes         []byte // not decoded yet
	position      int64  // of the first record that is wanted
	readCommitted bool
	partial       bool // bytes end inside a batch

	aborted       []AbortedTransaction // those that begin behind position, by first offset
	activeAborted map[int64]bool       // producers whose transaction at position is an aborted one
}

// NewBatches returns the batches in b, to be read from position on. A broker sends whole batches,
// so the first may begin before it. aborted are the aborted transactions that the response lists,
// in any order; they matter under kafka.ReadCommitted only.
func NewBatches(b []byte, position int64, isolation kafka.Isolation, aborted []AbortedTransaction) *Batches {
	bs := &Batches{bytes: b, position: position, readCommitted: isolation == kafka.ReadCommitted}
	if bs.readCommitted {
		bs.aborted = aborted
		slices.SortFunc(bs.aborted, func(a, b AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	}
	return bs
}

// More reports whether there is something left to decode.
func (bs *Batches) More() bool { return len(bs.bytes) > 0 && !bs.partial }

// Partial reports whether Decode has come to a batch whose end is not in the response.
func (bs *Batches) Partial() bool { return bs.partial }

// A Decoder decodes batches. It is owned by one goroutine, and so are the decompressors in it,
// which would otherwise outlive their owner in a pool of the process.
type Decoder struct {
	// Room returns an empty slice with room for n records; nil: it is made.
	Room func(n int) []kafka.Record

	// pieceBytes is what one call of Decode may take in memory beyond the bytes that were fetched,
	// maxBatchBytes what a single batch may; 0 is no bound.
	pieceBytes, maxBatchBytes int

	decompressor decompressor
	names        headerNames
	expanded     int // what the call has taken beyond the bytes that were fetched
}

// NewDecoder returns a decoder whose calls take up to pieceBytes beyond the bytes that were
// fetched, unless a single batch takes more: that may take maxBatchBytes. 0 is no bound. Close it.
func NewDecoder(pieceBytes, maxBatchBytes int) *Decoder {
	return &Decoder{pieceBytes: pieceBytes, maxBatchBytes: maxBatchBytes,
		decompressor: decompressor{maxBytes: maxBatchBytes}, names: headerNames{}}
}

// Close ends the decompressors.
func (d *Decoder) Close() { d.decompressor.close() }

// What a kafka.Record and a kafka.Header take besides their bytes.
const (
	recordMemory = 96
	headerMemory = 40
)

// Decode returns the records of the next piece of bs: what fits into pieceBytes, at least one
// batch. Markers and, under kafka.ReadCommitted, records of aborted transactions are left out, and
// Next passes over them.
//
// A batch that arrived whole and cannot be read comes alone, as one record without key and value
// and with Unreadable set (but for its TopicPartition). With an error the result is what comes
// before the batch that it concerns: ErrCorrupt, ErrOldFormat, or ErrLargeBatchWaits when
// claimLarge has returned false for a batch of more than pieceBytes. A nil claimLarge allows all.
func (d *Decoder) Decode(bs *Batches, claimLarge func() bool) (*kafka.Batch, error) {
	d.expanded = 0
	out := &kafka.Batch{Next: bs.position}
	if n := d.capacity(bs.bytes); n > 0 {
		if d.Room != nil {
			out.Records = d.Room(n)
		} else {
			out.Records = make([]kafka.Record, 0, n)
		}
	}
	err := d.decodePiece(bs, out, claimLarge)
	var unreadable *kafka.UnreadableBatch
	if errors.As(err, &unreadable) {
		err = nil
		// Records before it are delivered first: whoever is asked what to do about the batch has
		// processed them by then.
		if len(out.Records) == 0 {
			bs.skipUnreadable(out, unreadable)
		}
	}
	bs.position = out.Next
	return out, err
}

func (d *Decoder) decodePiece(bs *Batches, out *kafka.Batch, claimLarge func() bool) error {
	for len(bs.bytes) > 0 {
		if d.pieceBytes > 0 && d.expanded >= d.pieceBytes {
			return nil
		}
		size := Size(bs.bytes)
		if size > len(bs.bytes) {
			// Brokers cut a response off where it reaches the size that was asked for, wherever in a batch
			// that is.
			bs.partial = true
			return nil
		}
		if size < recordsAt || bs.bytes[magicAt] != magic {
			return bs.formatError(size)
		}
		if err := d.decodeBatch(bs, out, bs.bytes[:size:size], claimLarge); err == errPieceFull {
			return nil
		} else if err != nil {
			return err
		}
		bs.bytes = bs.bytes[size:]
	}
	return nil
}

// formatError tells an old format, which a field in the same place names, from bytes that are no
// batch at all.
func (bs *Batches) formatError(size int) error {
	if size > magicAt && bs.bytes[magicAt] < magic {
		return fmt.Errorf("offset %d: %w", bs.position, ErrOldFormat)
	}
	return ErrCorrupt
}

// skipUnreadable passes over the batch at the start, which out stands for with a record without
// contents.
func (bs *Batches) skipUnreadable(out *kafka.Batch, unreadable *kafka.UnreadableBatch) {
	pass(out, bs.bytes)
	out.Records = []kafka.Record{{Offset: max(unreadable.First, bs.position), Time: maxTime(bs.bytes)}}
	out.Unreadable = unreadable
	bs.bytes = bs.bytes[Size(bs.bytes):]
}

// capacity returns for how many records to make room: what the batches say that they hold, as far
// as a piece can hold it. Where they hold more, append makes more room as it comes; what they say
// is no reason to take memory for it.
func (d *Decoder) capacity(b []byte) int {
	n := countRecords(b)
	if d.pieceBytes > 0 {
		n = min(n, max(len(b), d.pieceBytes)/recordMemory)
	}
	return n
}

// maxCapacity bounds the room for records that is made before they come.
const maxCapacity = 1 << 20

// countRecords returns how many records the batches in b say that they hold.
func countRecords(b []byte) int {
	n := 0
	for len(b) >= recordsAt && Size(b) <= len(b) && Size(b) >= recordsAt {
		if !isControl(b) {
			n += int(min(binary.BigEndian.Uint32(b[countAt:]), maxCapacity))
		}
		b = b[Size(b):]
	}
	return min(n, maxCapacity)
}

// decodeBatch appends to out the records of one batch that the reader is to see.
func (d *Decoder) decodeBatch(bs *Batches, out *kafka.Batch, batch []byte, claimLarge func() bool) error {
	if checksum(batch) != binary.BigEndian.Uint32(batch[checksumAt:]) {
		return fmt.Errorf("%w: the checksum is wrong", ErrCorrupt)
	}
	first, last := baseOffset(batch), lastOffset(batch)
	attrs := batch[attributesAt+1]
	producer := int64(binary.BigEndian.Uint64(batch[producerIDAt:]))
	// A batch is of one transaction, so an aborted one is passed over without being decompressed. Its
	// marker is not: it ends the transaction, and the next one of the same producer may be committed.
	bs.beginAborted(last)
	aborted := attrs&attrTransactional != 0 && attrs&attrControl == 0 && bs.activeAborted[producer]
	if last < bs.position || aborted {
		pass(out, batch)
		return nil
	}
	compression := Compression(attrs & attrCompression)
	n := int(int32(binary.BigEndian.Uint32(batch[countAt:])))
	unreadable := func(err error) error {
		return &kafka.UnreadableBatch{First: first, Last: last, Records: n, Bytes: len(batch),
			Compression: compression.String(), Err: err}
	}
	records, err := d.decompress(compression, batch[recordsAt:], n, claimLarge)
	if err == ErrLargeBatchWaits || err == errPieceFull {
		return err
	} else if err != nil {
		return unreadable(err)
	}
	// Uncompressed records stay in the memory of the response, which was counted when it was fetched.
	decompressed := 0
	if compression != None {
		decompressed = len(records)
	}
	r := recordReader{bytes: records, names: d.names, baseOffset: first, minOffset: bs.position,
		baseTime: int64(binary.BigEndian.Uint64(batch[baseTimeAt:])),
		budget:   d.maxBatchBytes - decompressed, bounded: d.maxBatchBytes > 0}
	if attrs&attrLogAppendTime != 0 {
		r.baseTime, r.fixedTime = maxTime(batch), true
	}
	before := len(out.Records)
	switch {
	case attrs&attrControl != 0:
		bs.endTransaction(&r, producer)
	case n < 0:
		return unreadable(errors.New("its number of records is negative"))
	default:
		out.Records = r.read(out.Records, n)
	}
	// All records of a batch are delivered or none, so that the policy for unreadable ones decides
	// about a whole batch.
	if r.overBudget {
		out.Records = out.Records[:before]
		return unreadable(&kafka.InflatedError{Limit: d.maxBatchBytes})
	}
	if r.malformed && attrs&attrControl == 0 {
		out.Records = out.Records[:before]
		return unreadable(errors.New("a record ends beyond it"))
	}
	spent := d.maxBatchBytes - decompressed - r.budget
	d.expanded += decompressed + spent
	out.Bytes += len(records) + spent
	pass(out, batch)
	return nil
}

// pass moves out behind a batch, and counts the offsets that are not there: between batches, since compaction has
// removed a batch as a whole, and in the batch, which has fewer records then than offsets.
func pass(out *kafka.Batch, batch []byte) {
	first, last := baseOffset(batch), lastOffset(batch)
	if last < out.Next {
		return
	}
	records := int64(max(int32(binary.BigEndian.Uint32(batch[countAt:])), 0))
	out.Missing += max(first-out.Next, 0) + max(last+1-first-records, 0)
	out.Next = last + 1
}

// decompress returns the records of a batch that says it has n. What takes more than is left of the
// piece waits for the next piece; what takes more than a whole piece is decompressed only if
// claimLarge allows it.
func (d *Decoder) decompress(c Compression, b []byte, n int, claimLarge func() bool) ([]byte, error) {
	if d.pieceBytes == 0 || d.pieceBytes >= d.maxBatchBytes {
		return d.decompressor.decompress(c, b, d.maxBatchBytes)
	}
	// How much it takes is not known before it is decompressed, so it is tried with what is left. The
	// number of records is what the batch claims; no more of it is believed than its bytes can hold.
	records, err := d.decompressor.decompress(c, b, d.pieceBytes-d.expanded)
	var over *kafka.InflatedError
	fits := err == nil && d.expanded+min(n, len(records)/minRecordBytes)*recordMemory <= d.pieceBytes
	switch {
	case fits, err != nil && !errors.As(err, &over):
		return records, err
	case d.expanded > 0:
		return nil, errPieceFull
	case claimLarge != nil && !claimLarge():
		return nil, ErrLargeBatchWaits
	case err == nil:
		return records, nil
	}
	return d.decompressor.decompress(c, b, d.maxBatchBytes)
}

// beginAborted makes the aborted transactions active that have begun by offset. Each does so once:
// when its marker has ended it, the producer's next transaction may be a committed one.
func (bs *Batches) beginAborted(offset int64) {
	for len(bs.aborted) > 0 && bs.aborted[0].FirstOffset <= offset {
		if bs.activeAborted == nil {
			bs.activeAborted = map[int64]bool{}
		}
		bs.activeAborted[bs.aborted[0].ProducerID] = true
		bs.aborted = bs.aborted[1:]
	}
}

// endTransaction reads a marker. Its key is its version and its kind, two bytes each; 0 is abort.
func (bs *Batches) endTransaction(r *recordReader, producer int64) {
	var rec kafka.Record
	if r.record(&rec) && len(rec.Key) >= 4 && binary.BigEndian.Uint16(rec.Key[2:]) == 0 {
		delete(bs.activeAborted, producer)
	}
}
