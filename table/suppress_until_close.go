package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/window"
)

// SuppressUntilClose returns the final results of a windowed table: one for each window, sent when the window is closed, that is when stream
// time is past its end and its grace period and it takes no more records. It has the time and the headers of the record that
// changed it last. Deletions are dropped: windows that are gone had no result. Stream time is the greatest time of the
// changes that reach this step, so nothing is sent while none come; see window.Time.OnClose for a way without a buffer.
//
// A session that was sent may come a second time, longer, if a record that is late joins it to one that is open: whether a record is late is judged
// by the session that it makes.
//
//	final := table.SuppressUntilClose(perHour, "clicks-per-hour-final", table.Unbounded())
//
// A buffer with a bound must be one that stops when it is full, as what it would send early is not final.
//
// Options: InMemory, NoChangelog, TopicConfig.
func SuppressUntilClose[K, V any](t KTable[window.Key[K], V], name string, b Buffer, opts ...store.Option) KTable[window.Key[K], V] {
	n, s := suppressed(t, "table.SuppressUntilClose", name, opts)
	if n == nil {
		return KTable[window.Key[K], V]{}
	}
	n.Mistake(b.check(true))
	n.Emit = func(c *plan.Compile) error {
		after, ok := plan.CloseAfter(n.Input(0))
		switch {
		case !ok:
			return errors.New("its table has no windows that close: it needs one that is aggregated by windows")
		case after == plan.Never:
			return errors.New("the windows of its table have no end, so nothing would ever be sent")
		}
		return emitSuppressed[window.Key[K], V](c, n, s, suppression[window.Key[K]]{
			wait: after.Milliseconds(), Buffer: b, final: true,
			at: func(k window.Key[K], _ int64) int64 { return k.End.UnixMilli() },
		})
	}
	return result[window.Key[K], V](n)
}
