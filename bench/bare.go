package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	ibm "github.com/IBM/sarama"
)

// A bare loop reads and writes what the App of a workload does, with the same sizes, acknowledgements and idempotence, and commits
// its offsets ten times a second: one goroutine fetches, one writes, one answers. It decodes nothing, keeps no state, finds no
// leader again, repeats nothing, and its records alias what was fetched. What it needs is what Kafka costs on Sarama's protocol layer.
type bareLoop struct {
	s                    spec
	fetch, write, commit *ibm.Broker
	in                   string
	outs                 []string // of which the last is a changelog where there are two
	value                int      // bytes of a value that are written
	key                  int      // bytes of a key that are written; 0: those of the record's
	sizes                []int    // bytes of the values by outs, where they differ
	half                 bool     // the first of outs gets every second record only
	pos, ends, acked     map[int32]int64
	id                   *ibm.InitProducerIDResponse
	seq                  map[string][]int32
	w                    window
	read                 int64
	mu                   sync.Mutex // guards what follows
	flying               int
	failed               error
	settled              *sync.Cond
}

const (
	fetchBytes = 1 << 20   // of a partition: as the App asks for
	batchBytes = 256 << 10 // as the App writes
	inFlight   = 5
)

func (s spec) runBare() (result, error) {
	b := &bareLoop{s: s, pos: map[int32]int64{}, ends: map[int32]int64{}, acked: map[int32]int64{}, seq: map[string][]int32{}, value: valueSize}
	b.settled = sync.NewCond(&b.mu)
	programs[s.Workload].bare(b)
	if err := b.open(); err != nil {
		return result{}, err
	}
	return b.loop()
}

// open connects, one connection to a role as the library has it.
func (b *bareLoop) open() error {
	cfg := ibm.NewConfig()
	cfg.Version = ibm.V2_8_0_0
	cfg.Net.MaxOpenRequests = inFlight
	for _, to := range []**ibm.Broker{&b.fetch, &b.write, &b.commit} {
		*to = ibm.NewBroker(b.s.Broker)
		if err := (*to).Open(cfg); err != nil {
			return err
		}
		if _, err := (*to).Connected(); err != nil {
			return err
		}
	}
	var err error
	if b.id, err = b.write.InitProducerID(&ibm.InitProducerIDRequest{Version: 4, TransactionTimeout: time.Minute, ProducerID: -1, ProducerEpoch: -1}); err != nil {
		return err
	}
	for _, t := range b.outs {
		b.seq[t] = make([]int32, partitions)
	}
	for p := range int32(partitions) {
		req := &ibm.OffsetRequest{Version: 4}
		req.AddBlock(b.in, p, ibm.OffsetNewest, 1)
		resp, err := b.commit.GetAvailableOffsets(req)
		if err != nil {
			return err
		}
		end := resp.GetBlock(b.in, p).Offset
		b.ends[p] = end
		if b.s.Workload == "latency" {
			b.pos[p], b.ends[p] = end, 1<<60
		}
	}
	return nil
}

func (b *bareLoop) loop() (result, error) {
	if b.s.Workload == "latency" {
		fmt.Println("ready")
		go func() {
			io.Copy(io.Discard, os.Stdin)
			b.fail(errStopped)
		}()
	}
	fetched := make(chan *ibm.FetchResponse, 1)
	go b.poll(fetched)
	b.w.start(0)
	all := b.left()
	started, last := false, time.Now()
	for resp := range fetched {
		if err := b.pass(resp); err != nil {
			return result{}, err
		}
		if !started && b.read >= all/4 && b.read < all {
			b.w.start(b.read)
			started = true
		}
		if time.Since(last) > 100*time.Millisecond {
			if err := b.commitOffsets(); err != nil {
				return result{}, err
			}
			last = time.Now()
		}
	}
	b.mu.Lock()
	for b.flying > 0 && b.failed == nil {
		b.settled.Wait()
	}
	err := b.failed
	b.mu.Unlock()
	if err != nil && !errors.Is(err, errStopped) {
		return result{}, err
	}
	if err := b.commitOffsets(); err != nil {
		return result{}, err
	}
	b.w.extend()
	return b.w.result(b.read), nil
}

// left returns how many records it is to read. They may be fewer than the App reads, if that has several inputs.
func (b *bareLoop) left() (n int64) {
	for p, end := range b.ends {
		n += end - b.pos[p]
	}
	return n
}

var errStopped = errors.New("stopped")

func (b *bareLoop) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil {
		b.failed = err
	}
	b.settled.Broadcast()
}

func (b *bareLoop) broken() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// poll fetches until all partitions are at their ends.
func (b *bareLoop) poll(to chan<- *ibm.FetchResponse) {
	defer close(to)
	for b.broken() == nil {
		req := &ibm.FetchRequest{Version: 12, MaxWaitTime: 500, MinBytes: 1, MaxBytes: 50 << 20, SessionEpoch: -1, Isolation: ibm.ReadCommitted}
		left := false
		for p, end := range b.ends {
			if b.pos[p] < end {
				left = true
				req.AddBlock(b.in, p, b.pos[p], fetchBytes, -1)
			}
		}
		if !left {
			return
		}
		resp, err := b.fetch.Fetch(req)
		if err != nil {
			b.fail(err)
			return
		}
		for p, block := range resp.Blocks[b.in] {
			for _, rs := range block.RecordsSet {
				if rb := rs.RecordBatch; !rb.PartialTrailingRecord {
					b.pos[p] = rb.LastOffset() + 1
				}
			}
		}
		to <- resp
	}
}

// outQueue is what a response makes for one partition.
type outQueue struct {
	topic     string
	partition int32
	batches   []*ibm.RecordBatch
}

// pass writes what was fetched, in requests with one batch of each partition.
func (b *bareLoop) pass(resp *ibm.FetchResponse) error {
	var queues []*outQueue
	for p, block := range resp.Blocks[b.in] {
		if block.Err != ibm.ErrNoError {
			return block.Err
		}
		var records []*ibm.Record
		var first time.Time
		for _, rs := range block.RecordsSet {
			rb := rs.RecordBatch
			if rb.Control || rb.PartialTrailingRecord {
				continue
			}
			records, first = append(records, rb.Records...), rb.FirstTimestamp
			b.acked[p] = rb.LastOffset() + 1
		}
		b.read += int64(len(records))
		for i, t := range b.outs {
			write := records
			if b.half && i == 0 {
				write = records[:len(records)/2]
			}
			if len(write) > 0 {
				size := b.value
				if b.sizes != nil {
					size = b.sizes[i]
				}
				queues = append(queues, &outQueue{t, p, b.batches(t, p, size, write, first)})
			}
		}
	}
	for len(queues) > 0 {
		req := &ibm.ProduceRequest{Version: 9, RequiredAcks: ibm.WaitForAll, Timeout: 10_000}
		left := queues[:0]
		for _, q := range queues {
			req.AddBatch(q.topic, q.partition, q.batches[0])
			if q.batches = q.batches[1:]; len(q.batches) > 0 {
				left = append(left, q)
			}
		}
		queues = left
		if err := b.send(req); err != nil {
			return err
		}
	}
	return nil
}

// batches makes batches of at most 256 KiB, with values of that size.
func (b *bareLoop) batches(topic string, p int32, value int, records []*ibm.Record, at time.Time) (all []*ibm.RecordBatch) {
	perBatch := batchBytes / (value + 16)
	slab := make([]ibm.Record, len(records))
	ptrs := make([]*ibm.Record, len(records))
	for i, r := range records {
		key := r.Key
		if b.key > 0 {
			key = r.Value[:b.key]
		}
		slab[i] = ibm.Record{Key: key, Value: r.Value[:min(value, len(r.Value))], OffsetDelta: int64(i % perBatch)}
		ptrs[i] = &slab[i]
	}
	for len(ptrs) > 0 {
		n := min(perBatch, len(ptrs))
		all = append(all, &ibm.RecordBatch{Version: 2, FirstTimestamp: at, MaxTimestamp: at, ProducerID: b.id.ProducerID,
			ProducerEpoch: b.id.ProducerEpoch, FirstSequence: b.seq[topic][p], LastOffsetDelta: int32(n - 1), Records: ptrs[:n]})
		b.seq[topic][p] += int32(n)
		ptrs = ptrs[n:]
	}
	return all
}

// send writes a request; AsyncProduce waits while five are under way.
func (b *bareLoop) send(req *ibm.ProduceRequest) error {
	if err := b.broken(); err != nil {
		return err
	}
	b.mu.Lock()
	b.flying++
	b.mu.Unlock()
	return b.write.AsyncProduce(req, func(resp *ibm.ProduceResponse, err error) {
		if err == nil {
			for _, blocks := range resp.Blocks {
				for _, x := range blocks {
					if x.Err != ibm.ErrNoError {
						err = x.Err
					}
				}
			}
		}
		if err != nil {
			b.fail(err)
		}
		b.mu.Lock()
		b.flying--
		b.settled.Broadcast()
		b.mu.Unlock()
	})
}

// commitOffsets commits what was read, as nobody's member.
func (b *bareLoop) commitOffsets() error {
	if len(b.acked) == 0 || len(b.outs) == 0 {
		return nil
	}
	req := &ibm.OffsetCommitRequest{Version: 7, ConsumerGroup: "bare-" + b.s.Workload, ConsumerGroupGeneration: -1}
	for p, at := range b.acked {
		req.AddBlock(b.in, p, at, 0, "")
	}
	resp, err := b.commit.CommitOffset(req)
	if err != nil {
		return err
	}
	for _, codes := range resp.Errors {
		for _, code := range codes {
			if code != ibm.ErrNoError && code != ibm.ErrNotCoordinatorForConsumer && code != ibm.ErrConsumerCoordinatorNotAvailable && code != ibm.ErrOffsetsLoadInProgress {
				return code
			}
		}
	}
	return nil
}
