package changelog

import (
	"context"
	"errors"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Keys reads which keys a stretch of a log that somebody else wrote holds, each once. A stretch that is gone already, deleted or
// compacted away, holds none. f must be a fetcher of its own: a restore may be reading the same partition.
func Keys(ctx context.Context, f kafka.Fetcher, w kafka.ForeignWrite) ([][]byte, error) {
	in := &inbox{wake: make(chan struct{}, 1)}
	f.Add(w.TopicPartition, w.From, in)
	defer f.Remove(w.TopicPartition)
	var out [][]byte
	seen := map[string]bool{}
	for at := w.From; at < w.To; {
		batches, err := in.take(ctx)
		var gone *kafka.OffsetOutOfRange
		if errors.As(err, &gone) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for _, b := range batches {
			for _, r := range b.Records {
				if r.Offset < w.To && r.Key != nil && !seen[string(r.Key)] {
					seen[string(r.Key)] = true
					out = append(out, r.Key)
				}
			}
			f.Release(w.TopicPartition, b.Bytes)
			at = b.Next
		}
	}
	return out, nil
}
