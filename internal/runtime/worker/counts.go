package worker

import "github.com/millstream-go/millstream/internal/graph"

// counts are what was counted in an epoch. With exactly once they become part of the App's figures when their
// transaction has committed, so that these never fall and have nothing of a transaction that was aborted, whose records
// are processed again. Without transactions what was sent stays sent, and all is counted at once.
type counts struct {
	in, out int64
	dropped []droppedCount // few: one for each step and reason
}

type droppedCount struct {
	node   *graph.Node
	reason string
	count  int64
}

func (c *counts) drop(node *graph.Node, reason string, count int64) {
	for i := range c.dropped {
		if d := &c.dropped[i]; d.node == node && d.reason == reason {
			d.count += count
			return
		}
	}
	c.dropped = append(c.dropped, droppedCount{node, reason, count})
}

// take adds what other has, and leaves other empty.
func (c *counts) take(other *counts) {
	c.in, c.out = c.in+other.in, c.out+other.out
	for _, d := range other.dropped {
		c.drop(d.node, d.reason, d.count)
	}
	other.clear()
}

func (c *counts) clear() {
	c.in, c.out = 0, 0
	clear(c.dropped)
	c.dropped = c.dropped[:0]
}

// noteDropped is called by tasks, at the end of a round.
func (w *Worker) noteDropped(node *graph.Node, reason string, count int64) {
	if w.exactlyOnce() {
		w.open.drop(node, reason, count)
		return
	}
	w.noteCommitted(droppedCount{node, reason, count})
}

func (w *Worker) noteCommitted(d droppedCount) {
	if notify := w.cfg.Task.Dropped; notify != nil {
		notify(d.node, d.reason, d.count)
	}
}

// countOpen publishes what the open epoch has counted, where that cannot be undone.
func (w *Worker) countOpen() {
	if !w.exactlyOnce() {
		w.publish(&w.open)
	}
}

// publish adds counts to the worker's figures, and leaves them empty.
func (w *Worker) publish(c *counts) {
	if c.in != 0 {
		w.stats.In.Add(c.in)
	}
	if c.out != 0 {
		w.stats.Out.Add(c.out)
	}
	for _, d := range c.dropped {
		w.noteCommitted(d)
	}
	c.clear()
}
