package graph_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/graph"
)

// The reasons are part of the API, though no exported name has them.
func TestDropReasons_DoNotChange(t *testing.T) {
	for text, reason := range map[string]string{
		"record without key":            graph.NoKey,
		"record without key to look up": graph.NoLookupKey,
		"record without value":          graph.NoValue,
		"record without value, for which a function of values was to make a key": graph.NoNewKey,
		"record without key not sent to a repartition topic":                     graph.NoRepartition,
		"record without valid timestamp":                                         graph.NoTime,
		"row without foreign key":                                                graph.NoForeignKey,
		"value forwarded by a punctuation without key":                           graph.NoPunctuateKey,
		"record does not decode":                                                 graph.DecodeSkipped,
		"function failed":                                                        graph.ProcessSkipped,
		"record could not be written":                                            graph.ProduceSkipped,
		"record held back by middleware":                                         graph.DroppedByMiddleware,
		"record matched no branch":                                               graph.NoBranch,
		"record too late: its window is closed":                                  graph.Late,
		"older than what its store keeps":                                        graph.Expired,
		"record joined, but too late to be kept for later partners":              graph.TooLateToStore,
		"answer to a row that has changed since":                                 graph.StaleResponse,
		"update older than the row's latest version":                             graph.Stale,
		"update older than the row's latest version, left out of groups":         graph.StaleRow,
	} {
		assert.Equal(t, text, reason)
	}
}
