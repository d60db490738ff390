package lsm

import "time"

// Stats says how a store is on disk.
type Stats struct {
	Runs, Files int
	Bytes       int64 // of all files
	Filters     int64 // bytes of filters, a part of Bytes
	Written     int64 // bytes of run files written since the store was opened
	// Waiting is how many runs the merge that is under way, or comes next, reads, and WaitingBytes how long
	// they are; zero when nothing is to be merged.
	Waiting      int
	WaitingBytes int64
	// Paced is how long merges have waited since the store was opened, so that they write no more than Pace.
	Paced time.Duration
	// Compared is how many pages reads have compared with their checksums since the store was opened. It
	// leaves out those of merges, which compare all that they read.
	Compared int64
}

// Stats returns the figures of the store. Safe from any goroutine; it waits for nothing.
func (e *Engine) Stats() Stats {
	v := e.levels.acquire()
	defer e.levels.release(v)
	s := Stats{
		Runs: len(v.runs), Files: len(v.files),
		Written: e.levels.written.Load(), Compared: e.levels.compared.Load(),
		Paced: time.Duration(e.levels.paced.Load()),
	}
	for _, f := range v.files {
		s.Bytes += f.Bytes()
		s.Filters += f.FilterBytes()
		s.Compared += f.Compared()
	}
	from, to := e.levels.plan(v.listed)
	for _, x := range v.listed[from:to] {
		s.Waiting++
		s.WaitingBytes += x.bytes()
	}
	return s
}

// MergeEvent is what a MergeInfo is about.
type MergeEvent uint8

const (
	MergeBegins    MergeEvent = iota // or goes on after a restart
	MergeEnds                        // its inputs are removed
	MergeFails                       // and is tried again
	MergesBehind                     // a flush waits for merges: memory fills
	MergesCaughtUp                   // it waits no more
	MergesLeft                       // it was given up while it waited: the store is closed
)

// MergeInfo says what a merge does.
type MergeInfo struct {
	Path  string
	Event MergeEvent
	Runs  int           // that are merged; of MergesBehind and what follows it: that there are
	Rows  int64         // in files that the merge has written since the store was opened, without tombstones
	Bytes int64         // of these files
	Took  time.Duration // since the merge began or went on; of MergesCaughtUp and MergesLeft: how long a flush has waited
	Err   error         // of MergeFails
}

func (l *levels) notify(i MergeInfo) {
	if l.o.OnMerge != nil {
		i.Path = l.o.Path
		l.o.OnMerge(i)
	}
}
