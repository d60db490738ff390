package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

// markers has those of a transaction come one by one, as Kafka's do: in some partitions up to maxLate after the first ones, and the
// same for its offsets. The brokers of this simulation write all of them at once. So the answers of brokers are changed on their way:
// a partition whose marker is missing has the last stable offset that it had before the transaction ended, and what is behind that is not in
// the answer to a read_committed fetch. Committed offsets without their marker are not stable.
type markers struct {
	w *world

	mu      sync.Mutex
	r       *rand.Rand
	missing map[kafka.TopicPartition][]missingMarker
	offsets map[kafka.TopicPartition]time.Time // until when committed offsets lack their marker
}

// missingMarker says what the last stable offset of a partition is, and until when.
type missingMarker struct {
	stable int64
	until  time.Time
}

// lateMarker is that an answer was changed.
const lateMarker = "marker of a transaction later than another"

func newMarkers(w *world, seed uint64) *markers {
	return &markers{w: w, r: rand.New(rand.NewPCG(seed, 3)), missing: map[kafka.TopicPartition][]missingMarker{},
		offsets: map[kafka.TopicPartition]time.Time{}}
}

// delay has some markers of a transaction come late that is about to end. It returns when the last one comes.
func (m *markers) delay(t *transaction) (last time.Time) {
	stable := map[kafka.TopicPartition]int64{}
	for _, tp := range t.partitions {
		if info := m.w.b.Cluster().PartitionInfo(tp.Topic, tp.Partition); info != nil {
			stable[tp] = info.LastStableOffset
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	last = now
	until := func() time.Time {
		at := now.Add(lateness(m.r))
		if at.After(last) {
			last = at
		}
		return at
	}
	for _, tp := range t.partitions {
		if offset, is := stable[tp]; is && m.r.IntN(2) == 0 {
			m.missing[tp] = append(m.missing[tp], missingMarker{offset, until()})
		}
	}
	if len(t.offsets) > 0 && m.r.IntN(2) == 0 { // they have one marker
		at := until()
		for _, tp := range t.offsets {
			m.offsets[tp] = at
		}
	}
	return last
}

// stable returns the last stable offset of a partition that lacks a marker, and when that may have come.
func (m *markers) stable(tp kafka.TopicPartition) (offset int64, until time.Time, lacks bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	left := slices.DeleteFunc(m.missing[tp], func(x missingMarker) bool { return !x.until.After(now) })
	if m.missing[tp] = left; len(left) == 0 {
		delete(m.missing, tp)
	}
	for _, x := range left {
		if !lacks || x.stable < offset {
			offset, until, lacks = x.stable, x.until, true
		}
	}
	return offset, until, lacks
}

// lackOffsets reports whether the marker of committed offsets is missing.
func (m *markers) lackOffsets(tp kafka.TopicPartition) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offsets[tp].After(time.Now())
}

// inquiry is a request whose answer depends on markers.
type inquiry struct {
	key     kmsg.Key
	version int16
}

// inquiryOf returns what a request asks for, when that depends on markers.
func inquiryOf(f []byte) (asks inquiry, is bool) {
	key, version := kmsg.Key(binary.BigEndian.Uint16(f[4:])), int16(binary.BigEndian.Uint16(f[6:]))
	var req kmsg.Request
	switch key {
	case kmsg.Fetch:
		req = kmsg.NewPtrFetchRequest()
	case kmsg.ListOffsets:
		req = kmsg.NewPtrListOffsetsRequest()
	case kmsg.OffsetFetch:
		req = kmsg.NewPtrOffsetFetchRequest()
	default:
		return asks, false
	}
	if !decodeRequest(req, f) { // the requests of the Apps have no more than a few hundred bytes
		return asks, false
	}
	switch req := req.(type) {
	case *kmsg.FetchRequest:
		is = req.IsolationLevel == 1
	case *kmsg.ListOffsetsRequest:
		is = req.IsolationLevel == 1
	case *kmsg.OffsetFetchRequest:
		is = req.RequireStable && version < 8
	}
	return inquiry{key, version}, is
}

// decodeRequest reports whether the frame f could be read.
func decodeRequest(req kmsg.Request, f []byte) bool {
	req.SetVersion(int16(binary.BigEndian.Uint16(f[6:])))
	b := kbin.Reader{Src: f[12:]}
	b.NullableString() // the id of the client
	if req.IsFlexible() {
		kmsg.SkipTags(&b)
	}
	return b.Ok() && req.ReadFrom(b.Src) == nil
}

// answer returns an answer of a broker without what lacks its marker.
func (m *markers) answer(asks inquiry, f []byte, over <-chan struct{}) []byte {
	switch asks.key {
	case kmsg.Fetch:
		return m.fetched(asks.version, f, over)
	case kmsg.ListOffsets:
		return m.listed(asks.version, f)
	}
	return m.committed(asks.version, f)
}

// fetched waits where nothing is left of an answer: the broker would answer the next request at once.
func (m *markers) fetched(version int16, f []byte, over <-chan struct{}) []byte {
	for m.any() {
		resp := kmsg.NewPtrFetchResponse()
		if !decode(resp, version, f) {
			return f
		}
		var next time.Time
		news := false
		for i := range resp.Topics {
			t := &resp.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				stable, until, lacks := m.stable(kafka.TopicPartition{Topic: t.Topic, Partition: p.Partition})
				if lacks && p.LastStableOffset > stable {
					p.LastStableOffset = stable
					if kept := before(p.RecordBatches, stable); len(kept) < len(p.RecordBatches) {
						p.RecordBatches = kept
						if next.IsZero() || until.Before(next) {
							next = until
						}
					}
					p.AbortedTransactions = slices.DeleteFunc(p.AbortedTransactions,
						func(a kmsg.FetchResponseTopicPartitionAbortedTransaction) bool { return a.FirstOffset >= stable })
				}
				news = news || len(p.RecordBatches) > 0 || p.ErrorCode != 0
			}
		}
		if next.IsZero() { // no record is left out
			return f
		}
		m.w.tookEffect(lateMarker)
		if news || resp.ErrorCode != 0 {
			return encode(resp, f)
		}
		select {
		case <-time.After(time.Until(next)):
		case <-over:
			return f
		}
	}
	return f
}

// any reports whether any partition may lack a marker.
func (m *markers) any() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.missing) > 0
}

// before returns the batches that begin before an offset.
func before(batches []byte, offset int64) []byte {
	for at := 0; at+12 <= len(batches); at += 12 + int(binary.BigEndian.Uint32(batches[at+8:])) {
		if int64(binary.BigEndian.Uint64(batches[at:])) >= offset {
			return batches[:at]
		}
	}
	return batches
}

func (m *markers) listed(version int16, f []byte) []byte {
	resp := kmsg.NewPtrListOffsetsResponse()
	if !m.any() || !decode(resp, version, f) {
		return f
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if stable, _, lacks := m.stable(kafka.TopicPartition{Topic: t.Topic, Partition: p.Partition}); lacks {
				p.Offset = min(p.Offset, stable)
			}
		}
	}
	return encode(resp, f)
}

func (m *markers) committed(version int16, f []byte) []byte {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if !decode(resp, version, f) {
		return f
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if m.lackOffsets(kafka.TopicPartition{Topic: t.Topic, Partition: p.Partition}) {
				p.Offset, p.Metadata, p.ErrorCode = -1, kmsg.StringPtr(""), kerr.UnstableOffsetCommit.Code
				m.w.tookEffect(lateMarker)
			}
		}
	}
	return encode(resp, f)
}

// headerOf returns how long the header of an answer is.
func headerOf(resp kmsg.Response) int {
	if resp.IsFlexible() {
		return 9 // with no tags
	}
	return 8
}

func decode(resp kmsg.Response, version int16, f []byte) bool {
	resp.SetVersion(version)
	n := headerOf(resp)
	return len(f) >= n && resp.ReadFrom(f[n:]) == nil
}

// encode returns the frame of an answer that has the header of f.
func encode(resp kmsg.Response, f []byte) []byte {
	n := headerOf(resp)
	out := resp.AppendTo(slices.Clone(f[:n]))
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}
