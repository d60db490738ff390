package millstream

import "fmt"

// Pause has this App process nothing until Resume. Its tasks stay where they are: they process no
// records and call no punctuations, of either clock, and nothing is fetched for them. What they have
// done is committed, and the App remains a member of its group, so no task moves to another member.
// Other members of the group are not paused.
//
// Stores that are being restored are restored, global stores follow their topics, and App.OpenStore
// reads what was committed. A task that the group assigns to the App while it is paused is opened,
// and then paused, too. RunToEnd waits for Resume. Run can be stopped as usual.
//
// Pause returns at once, and each worker ends the round that it is at: some records, or one where
// functions are slow. Stats.PausedTasks and TaskInfo say which tasks are paused. State, Ready and
// Live are those of an App that runs: it does what it is meant to. Pause may be called before Run. It
// is not written anywhere: an App of another process, or of the next one, is not paused.
//
// After Resume a punctuation of the wall clock that has become due is called once. Records are not
// lost, unless the retention of their topic ends while they wait: then the App stops with an error.
func (a *App) Pause() { a.setPaused(true) }

// Resume ends Pause. Sub-topologies that PauseSubtopologies has paused stay paused; the log says which.
func (a *App) Resume() { a.setPaused(false) }

// Paused reports whether the App is paused as a whole, by Pause.
func (a *App) Paused() bool { return a.pauses.All() }

func (a *App) setPaused(paused bool) {
	if a.pauses.SetAll(paused) {
		a.pausesChanged(paused)
	}
}

// PauseSubtopologies has this App process nothing in parts of its topology until
// ResumeSubtopologies, as Pause does for all of it. A sub-topology has a number, which tasks are
// named after: task 1_3 is of sub-topology 1. Topology.Subtopologies, Topology.Describe and the log
// have these numbers; they depend on the program only. What other sub-topologies send to one that is
// paused waits in their repartition topics.
//
// It is an error, and nothing is paused, if there is no sub-topology of a number, or if it is one of
// global stores, which have no tasks.
func (a *App) PauseSubtopologies(ids ...int) error { return a.setSubtopologies(true, ids) }

// ResumeSubtopologies ends PauseSubtopologies. While the App is paused as a whole, its tasks stay
// paused.
func (a *App) ResumeSubtopologies(ids ...int) error { return a.setSubtopologies(false, ids) }

func (a *App) setSubtopologies(paused bool, ids []int) error {
	var errs []error
	for _, id := range ids {
		switch subs := a.graph.Subtopologies; {
		case id < 0 || id >= len(subs):
			errs = append(errs, fmt.Errorf("there is no sub-topology %d: those of this topology have the numbers 0 to %d, see "+
				"Topology.Describe", id, len(subs)-1))
		case subs[id].Global:
			errs = append(errs, fmt.Errorf("sub-topology %d is that of a global store, which has no tasks and cannot be "+
				"paused", id))
		}
	}
	if err := joinErrors(errs); err != nil {
		return err
	}
	if changed := a.pauses.Set(paused, ids); len(changed) > 0 {
		a.pausesChanged(paused, "subtopologies", changed)
	}
	return nil
}

// pausesChanged has the workers look at what is paused, and logs it.
func (a *App) pausesChanged(paused bool, of ...any) {
	if inst := a.current(); inst != nil { // otherwise its workers look when they begin
		inst.PausesChanged()
	}
	what := "paused"
	if !paused {
		what = "resumed"
		// Who resumes one of the two switches is to know that the other one is still on.
		if all, subs := a.pauses.Paused(); all {
			of = append(of, "still_paused", "all, by App.Pause")
		} else if len(subs) > 0 {
			of = append(of, "still_paused", subs)
		}
	}
	a.cfg.Logger.Info("millstream: "+what, of...)
}
