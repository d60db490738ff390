package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/store"
)

// running is a task of a worker.
type running struct {
	Handover
	task *task.Task
	logs map[store.Engine]*changelog.Log

	ends   map[kafka.TopicPartition]int64 // of the partitions, as far as known
	queued map[kafka.TopicPartition]int64 // positions behind what was queued

	limit     int   // of records in a round
	dirty     bool  // something was done since the last cut
	stopped   bool  // takes no more records
	releasing bool  // is to be handed back
	asked     bool  // a last look at its changelogs is under way
	looked    bool  // nobody else had written into them
	undo      bool  // what is not settled is void
	cut       bool  // part of the commit in flight
	err       error // why it failed
}

// Adopt hands a task over to the worker, which owns all of h from now on and reports Adopted, or Failed.
func (w *Worker) Adopt(h Handover) { w.command(func() { w.adopt(h) }) }

func (w *Worker) adopt(h Handover) {
	r := &running{Handover: h, limit: perLook, ends: h.Ends, queued: map[kafka.TopicPartition]int64{}, logs: map[store.Engine]*changelog.Log{}}
	if r.ends == nil {
		r.ends = map[kafka.TopicPartition]int64{}
	}
	w.tasks = append(w.tasks, r)
	if w.broken != nil || w.stopping {
		r.stopped, r.releasing, r.undo = true, true, true
		return
	}
	w.member = h.Member
	for _, l := range h.Logs {
		r.logs[l.Engine] = l
		l.Expect(w.producer)
	}
	if err := w.wire(r); err != nil {
		w.fail(r, err)
		return
	}
	for _, tp := range r.task.Partitions() {
		w.byTP[tp] = r
		r.queued[tp] = h.Start[tp].Offset
		w.cfg.Fetcher.Add(tp, h.Start[tp].Offset, w)
	}
	r.dirty = true // what wiring did to the stores
	w.cfg.Tell(Report{Worker: w.cfg.ID, Task: r.ID, What: Adopted})
}

func (w *Worker) wire(r *running) error {
	cfg := w.cfg.Task
	cfg.ID, cfg.Context = r.ID, w.tenure.Load().ctx
	cfg.Out = output{w}
	cfg.Topics = func() []string { return r.Topics }
	cfg.Released = w.cfg.Fetcher.Release
	cfg.Lag = func(tp kafka.TopicPartition) bool { return r.queued[tp] < r.ends[tp] }
	cfg.Engine = func(s *graph.Store) (store.Engine, error) {
		if e := r.Engines[s.Name]; e != nil {
			return e, nil
		}
		return nil, errors.New("it was not opened")
	}
	t, err := task.New(cfg)
	if err != nil {
		return err
	}
	r.task = t
	t.SetCommitted(r.Start)
	for _, tp := range t.Partitions() {
		if _, ok := r.Start[tp]; !ok {
			return fmt.Errorf("task %s: no start position is known for %s", r.ID, tp)
		}
	}
	return nil
}

// punctuate says whether a punctuation of the wall clock is due.
func (r *running) punctuate() bool {
	at, ok := r.task.NextWake()
	return ok && !time.Now().Before(at)
}

// output is where tasks write.
type output struct{ w *Worker }

// Partitions implements task.Output.
func (o output) Partitions(topic string) (int, error) { return o.w.cfg.Partitions(topic) }

// Send implements task.Output.
func (o output) Send(topic string, partition int32, r kafka.ProduceRecord) error {
	o.w.stats.Out.Add(1)
	return o.w.producer.Send(o.w.tenure.Load().ctx, kafka.TopicPartition{Topic: topic, Partition: partition}, r)
}

// Release has tasks settled and handed back: they take no more records at once, and a Released is told for each when its last
// epoch is settled. Tasks that the worker does not have are told at once.
func (w *Worker) Release(ids ...graph.TaskID) {
	w.command(func() {
		for _, id := range ids {
			if r := w.find(id); r != nil {
				w.halt(r)
				r.releasing = true
				continue
			}
			w.cfg.Tell(Report{Worker: w.cfg.ID, Task: id, What: Released})
		}
	})
}

// Stop has all tasks settled and handed back, and Run return.
func (w *Worker) Stop() {
	w.command(func() {
		w.stopping = true
		for _, r := range w.tasks {
			w.halt(r)
			r.releasing = true
		}
	})
}

// Lose has all tasks handed back with everything undone that is not settled. What the producer has not sent will not be sent: others
// may own the changelogs by now. done is closed afterwards.
func (w *Worker) Lose(done chan<- struct{}) {
	// A task may be waiting for room in the producer, which will send nothing before the member has joined again.
	w.tenure.Load().end(ErrLost)
	w.command(func() {
		defer close(done)
		w.inFlight, w.looking = nil, nil // their goroutines will find the member gone
		for _, r := range w.tasks {
			w.halt(r)
			r.releasing, r.undo, r.cut = true, true, false
		}
		w.handBack()
		w.newTenure()
		if w.broken == nil {
			w.producer.Close()
			if err := w.open(); err != nil {
				w.breakDown(err)
			}
		}
	})
}

func (w *Worker) find(id graph.TaskID) *running {
	for _, r := range w.tasks {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// halt ends the fetching and the processing of a task.
func (w *Worker) halt(r *running) {
	if r.stopped {
		return
	}
	r.stopped = true
	if r.task == nil {
		return
	}
	tps := r.task.Partitions()
	w.cfg.Fetcher.Remove(tps...)
	for _, tp := range tps {
		delete(w.byTP, tp)
	}
}

// fail stops a task for good. What it did since its last cut is undone when it is handed back: the record at which it failed was
// processed in part, and will be processed again. Others go on.
func (w *Worker) fail(r *running, err error) {
	if errors.Is(err, crashpoint.Dead) { // in a store, below a task that turns panics into errors
		panic(crashpoint.Dead)
	}
	w.halt(r)
	if errors.Is(err, kafka.ErrUncertain) {
		w.breakDown(err)
	}
	if w.over() {
		r.undo = true
		return
	}
	if r.err == nil {
		r.err = err
		w.cfg.Tell(Report{Worker: w.cfg.ID, Task: r.ID, What: Failed, Err: err})
	}
}

// breakDown ends all commits of the worker: nothing that is not settled will be.
func (w *Worker) breakDown(err error) {
	if w.broken != nil || w.over() {
		return
	}
	if errors.Is(err, kafka.ErrUncertain) {
		w.void(Uncertain, err)
		return
	}
	w.broken = err
	w.void(Broken, err)
}

// void gives up everything that is not settled.
func (w *Worker) void(what What, err error) {
	w.inFlight, w.looking = nil, nil
	for _, r := range w.tasks {
		w.halt(r)
		r.undo, r.cut = true, false
	}
	w.tenure.Load().end(err) // what fails from now on fails because of that
	w.cfg.Tell(Report{Worker: w.cfg.ID, What: what, Err: err})
}

// handBack hands back what can be.
func (w *Worker) handBack() {
	kept := w.tasks[:0]
	for _, r := range w.tasks {
		if !r.handable() || !w.lastLook(r) {
			kept = append(kept, r)
			continue
		}
		err := w.close(r)
		w.cfg.Tell(Report{Worker: w.cfg.ID, Task: r.ID, What: Released, Err: err})
	}
	clear(w.tasks[len(kept):])
	w.tasks = kept
}

func (r *running) handable() bool {
	return r.releasing && (r.undo || !r.cut && (!r.dirty || r.err != nil))
}

// close closes a task, settled or with what is not undone. keeps 3
func (w *Worker) close(r *running) error {
	clean := !r.undo && r.err == nil
	var errs []error
	if r.task != nil {
		errs = append(errs, r.task.Close(clean))
	}
	if !clean {
		for name, e := range r.Engines {
			if err := e.Undo(); err != nil {
				errs = append(errs, fmt.Errorf("store %q partition %d: %w", name, r.ID.Partition, err))
			}
		}
	}
	return errors.Join(errs...)
}
