package plan

import (
	"errors"
	"sync"

	"github.com/millstream-go/millstream/topology"
)

const zeroHandle = "an input is the zero handle; make it with a function of package stream or table"

// orphans are calls that belong to no builder: they were made on zero handles or on a nil builder.
// A program with such a call would run without a part of itself, and no builder knows. So the next
// Build of the process reports them. Programs are usually built one after the other, and even in
// another program the position shows where the mistake is.
var orphans struct {
	sync.Mutex
	calls topology.Errors
}

// maxOrphans bounds the memory of a process that never builds.
const maxOrphans = 100

func (n *Node) recordOrphan() {
	reason := "its builder is nil; make it with stream.NewBuilder"
	if len(n.inputs) > 0 {
		reason = zeroHandle
	}
	orphans.Lock()
	defer orphans.Unlock()
	if len(orphans.calls) < maxOrphans {
		orphans.calls = append(orphans.calls, n.err(errors.New(reason)))
	}
}

func takeOrphans() topology.Errors {
	orphans.Lock()
	defer orphans.Unlock()
	calls := orphans.calls
	orphans.calls = nil
	return calls
}
