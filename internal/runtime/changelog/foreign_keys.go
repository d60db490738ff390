package changelog

import (
	"context"
	"errors"

	"github.com/millstream-go/millstream/internal/kafka"
)

// ForeignKeys returns the keys that another process wrote, each once. It returns those that it has
// read so far when the rest was deleted meanwhile: a restore cannot read it either. No restore may
// use fetcher at the same time, since it may read the same partition.
func ForeignKeys(ctx context.Context, fetcher kafka.Fetcher, write kafka.ForeignWrite) ([][]byte, error) {
	batches := newBatchQueue()
	fetcher.Add(write.TopicPartition, write.From, batches)
	defer fetcher.Remove(write.TopicPartition)
	var out [][]byte
	seen := map[string]bool{}
	for position := write.From; position < write.To; {
		b, err := batches.next(ctx)
		var outOfRange *kafka.OffsetOutOfRange
		if errors.As(err, &outOfRange) { // deleted meanwhile
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if b.Unreadable != nil {
			return nil, b.Unreadable
		}
		for _, r := range b.Records {
			if r.Offset < write.To && r.Key != nil && !seen[string(r.Key)] {
				seen[string(r.Key)] = true
				out = append(out, r.Key)
			}
		}
		fetcher.Release(write.TopicPartition, b.Bytes)
		position = b.Next // by position: the last records of the stretch may be compacted away
	}
	return out, nil
}
