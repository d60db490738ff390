package worker

import (
	"context"
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/kafka"
)

// readForeign begins to read what others wrote into changelogs of this worker's tasks, whose only writer it is: a member that
// was thawed after it had lost them. The rows of those keys are written again before the commit goes on.
func (w *Worker) readForeign(c *commit, writes []kafka.ForeignWrite) {
	logs := map[kafka.TopicPartition]*changelog.Log{}
	for _, e := range c.epochs {
		if e.log != nil {
			logs[e.log.TopicPartition] = e.log
		}
	}
	for _, f := range writes {
		w.cfg.Logger.Error("millstream: another process wrote into a changelog of this one; writing its own rows again",
			"changelog", f.TopicPartition, "from", f.From, "to", f.To)
	}
	c.keys = make(chan foreign, 1)
	go func() {
		keys, err := w.foreignKeys(logs, writes)
		c.keys <- foreign{keys, err}
		w.inbox.Poke()
	}()
}

func (w *Worker) foreignKeys(logs map[kafka.TopicPartition]*changelog.Log, writes []kafka.ForeignWrite) (map[*changelog.Log][][]byte, error) {
	f, err := w.cfg.Reader()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeoutCause(w.tenure.Load().ctx, foreignTimeout, errForeign)
	defer cancel()
	out := map[*changelog.Log][][]byte{}
	for _, x := range writes {
		l := logs[x.TopicPartition]
		if l == nil {
			continue
		}
		keys, err := changelog.Keys(ctx, f, x)
		if err != nil {
			return nil, err
		}
		out[l] = append(out[l], keys...)
	}
	return out, nil
}

const foreignTimeout = time.Minute

var errForeign = errors.New("what another process wrote into a changelog could not be read in time")

// resend writes the rows again, once their keys are known.
func (w *Worker) resend(c *commit) bool {
	select {
	case f := <-c.keys:
		c.keys = nil
		for l, keys := range f.keys {
			if f.err == nil {
				f.err = l.Resend(w.tenure.Load().ctx, w.producer, keys)
			}
		}
		if f.err != nil {
			w.breakDown(f.err)
			return true
		}
		c.ticket = w.producer.Cut()
		return true
	default:
		return false
	}
}
