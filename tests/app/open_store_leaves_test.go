package app_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// A scan never looks complete when it is not: a partition that is closed while it is read is an error.
func TestOpenStore_PartitionLeavesDuringAScan(t *testing.T) {
	kinds(t, func(t *testing.T, opts ...store.Option) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 3), broker.Topic("out", 3))
		top, ref := keeping(t, func(string) {}, opts...)
		m := start(t, top, config(t, b))
		const n = 1000 // several pieces a partition
		write(t, b, "in", 0, n)
		await(t, b, "out", n)
		settled()
		rows, seen := ref.In(m), 0
		var ended error
		for _, err := range rows.All() {
			if err != nil {
				ended = err
				break
			}
			if seen++; seen == 10 {
				m.stop()
			}
		}
		require.ErrorIs(t, ended, millstream.ErrPartitionLeft)
		assert.Less(t, seen, n)
		for _, err := range rows.All() {
			require.ErrorIs(t, err, millstream.ErrNotRunning)
		}
	})
}
