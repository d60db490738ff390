package task_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
)

// A record that was decoded at a second attempt when it was processed is decoded at a second
// attempt in a restore.
func TestRowDecoder_RetriesAfterPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		topicStore := &graph.Store{SourceTopic: "in", RowDecoder: func() (func(*kafka.Record) (storage.Change, bool, error), error) {
			return func(r *kafka.Record) (storage.Change, bool, error) {
				if attempts++; attempts == 1 {
					return storage.Change{}, false, errors.New("the registry does not answer")
				}
				return storage.Change{Key: r.Key, Value: r.Value}, true, nil
			}, nil
		}}
		g := &graph.Graph{Subtopologies: []*graph.Subtopology{{Nodes: []*graph.Node{{
			Source: &graph.SourceSpec{Topics: []string{"in"}, Policy: failure.Retry(3, time.Second, time.Second, failure.Skip())},
		}}}}}
		decode, err := task.NewRowDecoder(t.Context(), g, topicStore, task.Policies{}, nil)
		require.NoError(t, err)

		before := time.Now()
		row, ok, err := decode(&kafka.Record{Key: []byte("k"), Value: []byte("v")})
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, []byte("v"), row.Value)
		assert.Equal(t, 2, attempts)
		assert.GreaterOrEqual(t, time.Since(before), time.Second/2)
	})
}
