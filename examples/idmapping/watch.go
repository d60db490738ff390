package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// watcher reads the output topic from its start, as any consumer would, and keeps the current
// record of each phone.
type watcher struct {
	client     *kgo.Client
	topic      string
	partitions int
	show       func(old, now IDs, deleted bool)

	mu        sync.Mutex
	profiles  map[string]IDs
	positions map[int32]int64 // position by partition
	read      int
	moved     chan struct{} // capacity 1: at has changed
	err       error
}

func watch(brokers []string, topic string, partitions int, show func(old, now IDs, deleted bool)) (*watcher, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	return &watcher{
		client: client, topic: topic, partitions: partitions, show: show,
		profiles: map[string]IDs{}, positions: map[int32]int64{}, moved: make(chan struct{}, 1),
	}, nil
}

// run reads until ctx ends.
func (w *watcher) run(ctx context.Context) {
	defer w.client.Close()
	for ctx.Err() == nil {
		fetches := w.client.PollFetches(ctx)
		w.mu.Lock()
		fetches.EachError(func(topic string, p int32, err error) {
			if ctx.Err() == nil {
				w.err = fmt.Errorf("read %s[%d]: %w", topic, p, err)
			}
		})
		fetches.EachRecord(w.apply)
		w.mu.Unlock()
		select {
		case w.moved <- struct{}{}:
		default:
		}
	}
}

func (w *watcher) apply(record *kgo.Record) {
	w.positions[record.Partition] = record.Offset + 1
	w.read++
	phone := string(record.Key)
	old := w.profiles[phone]
	if record.Value == nil {
		delete(w.profiles, phone)
		w.show(old, IDs{Phone: phone}, true)
		return
	}
	now, err := idsSerde.Decode(record.Value)
	if err != nil {
		w.err = fmt.Errorf("%s[%d] offset %d: %w", w.topic, record.Partition, record.Offset, err)
		return
	}
	w.profiles[phone] = now
	w.show(old, now, false)
}

// until waits until everything before ends was read.
func (w *watcher) until(ctx context.Context, ends map[int32]int64) error {
	for {
		w.mu.Lock()
		err, done := w.err, true
		for p, end := range ends {
			done = done && w.positions[p] >= end
		}
		w.mu.Unlock()
		if err != nil || done {
			return err
		}
		select {
		case <-w.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// complete returns how many profiles are complete, of how many, and how many records were read.
func (w *watcher) complete() (complete, all, read int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.profiles {
		if v.complete() {
			complete++
		}
	}
	return complete, len(w.profiles), w.read
}

// printer returns what shows profiles: as JSON a line for each that becomes complete, else a line
// for each change.
func printer(c Config, out io.Writer) func(old, now IDs, deleted bool) {
	switch {
	case c.Generate > 0:
		return func(IDs, IDs, bool) {}
	case c.JSON:
		enc := json.NewEncoder(out)
		return func(old, now IDs, deleted bool) {
			if !deleted && now.complete() && !old.complete() {
				_ = enc.Encode(now) // a closed pipe ends the program soon enough
			}
		}
	}
	return func(old, now IDs, deleted bool) {
		switch {
		case deleted:
			fmt.Fprintf(out, "    <- %s is forgotten\n", now.Phone)
		case now.complete() && !old.complete():
			fmt.Fprintf(out, "    <- %s is COMPLETE: ID card %s, device %s\n", now.Phone, now.IDCard, now.DeviceID)
		case now != old:
			fmt.Fprintf(out, "    <- %s: ID card %s, device %s\n", now.Phone, orUnknown(now.IDCard), orUnknown(now.DeviceID))
		}
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "not known yet"
	}
	return s
}
