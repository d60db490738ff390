package oracle

import (
	"time"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/window"
)

// Windows that the wall clock closes where no records come.

const (
	idleFrom = 60 // what the clock shows first
	idleFor  = 16
	idleLook = idleFor / 4
)

// idled finds where the clock moves stream time: where it looks, no record has come for long enough, and a window closes.
func (w windowed) idled(h []event) windowed {
	w.moves = map[int]int64{}
	since, next := int64(idleFrom), int64(idleFrom+idleLook)
	for i, e := range h {
		now, st := idleFrom+e.now, w.timeAfter(h[:i])
		switch {
		case e.kind == record:
			since = now
		case e.kind == restart || e.kind == wipe:
			since, next = now, now+idleLook
		case e.kind == advance && now >= next:
			next = now - (now-next)%idleLook + idleLook
			if at := now - idleFor; at >= since && st >= 0 && at > st && w.closesUntil(h[:i], at) {
				w.moves[e.n] = at
			}
		}
	}
	return w
}

// timeAfter is stream time after some events, -1 before the first record.
func (w windowed) timeAfter(h []event) int64 {
	if len(filtered(h, func(e event) bool { return e.key.ok })) == 0 {
		return -1
	}
	return w.streamTimes(h)[len(h)-1]
}

// closesUntil reports whether a window with a row closes if stream time gets to at.
func (w windowed) closesUntil(h []event, at int64) bool {
	last := map[string]change{}
	for _, cs := range w.table(h) {
		for _, c := range cs {
			if c.lost == "" {
				last[c.key] = c
			}
		}
	}
	closed := w.closed(w.timeAfter(h))
	for _, c := range last {
		if c.new.ok && c.end > closed && c.end <= w.closed(at) {
			return true
		}
	}
	return false
}

func idles() []oracle {
	in := []input{{topic: "in", keys: abcd[:2], value: small, nulls: 5, noKeys: 5}}
	idle := func(name string, w windows, by window.Any) oracle {
		return oracle{
			name: name, inputs: in, scale: 10, clock: true, opts: []testdriver.Option{testdriver.StartAt(time.UnixMilli(idleFrom))},
			build: countProgram(by, store.Retention(time.Hour)),
			model: func(h []event) [][]row {
				return written(countBy(w, "in").idled(h).onClose, "out")(h)
			},
		}
	}
	return []oracle{
		idle("tumbling-count-idle", tumbling(10, 5), window.Tumbling(ms(10)).Grace(ms(5)).OnClose().IdleAfter(ms(idleFor))),
		idle("session-count-idle", sessionBy(10, 5), window.Sessions(ms(10)).Grace(ms(5)).OnClose().IdleAfter(ms(idleFor))),
	}
}
