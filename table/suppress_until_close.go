package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/window"
)

// SuppressUntilClose returns the final results of a windowed table: one for each window, sent when
// the window is closed, which means that stream time has passed its end and its grace period and
// the window accepts no more records. A result has the time and headers of the record that changed
// it last. Tombstones are dropped: a deleted window had no result. Stream time is the greatest time
// of the changes that reach this step, so nothing is sent while none arrive. window.Time.OnClose
// does without a buffer.
//
// A session that was sent may be sent a second time, longer, if a late record joins it to an open
// one: the session that results decides whether a record is late.
//
//	final := table.SuppressUntilClose(perHour, "clicks-per-hour-final", table.Unbounded())
//
// A buffer with a limit must be one that stops when it is full, because what it would send early is
// not final.
//
// Options: InMemory, NoChangelog, TopicConfig.
func SuppressUntilClose[K, V any](
	t KTable[window.Key[K], V], name string, b Buffer, opts ...store.Option,
) KTable[window.Key[K], V] {
	node, settings := suppressNode(t, "table.SuppressUntilClose", name, opts)
	if node == nil {
		return KTable[window.Key[K], V]{}
	}
	node.AddError(b.check(true))
	node.AddToGraph = func(compiler *plan.Compiler) error {
		after, ok := plan.CloseAfter(node.Input(0))
		switch {
		case !ok:
			return errors.New("its table has no windows that close: it needs one that is aggregated by windows")
		case after == plan.Never:
			return errors.New("the windows of its table have no end, so nothing would ever be sent")
		}
		return addSuppress[window.Key[K], V](compiler, node, settings, suppressRule[window.Key[K]]{
			wait: after.Milliseconds(), Buffer: b, final: true,
			at: func(k window.Key[K], _ int64) int64 { return k.End.UnixMilli() },
		})
	}
	return result[window.Key[K], V](node)
}
