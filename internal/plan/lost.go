package plan

import (
	"errors"
	"sync"

	"github.com/millstream-go/millstream/topology"
)

const zeroHandle = "an input is the zero handle; make it with a function of package stream or table"

// lost are the calls that belong to no builder: made on zero handles or on a nil builder. A program with such a call would run
// without a part of itself, and no builder knows. The next Build of the process reports them: programs are built one after the other,
// and the position says where the mistake is even if it is in another one.
var lost struct {
	sync.Mutex
	calls topology.Errors
}

// maxLost bounds what a process keeps that never builds.
const maxLost = 100

func (n *Node) lose() {
	why := "its builder is nil; make it with stream.NewBuilder"
	if len(n.inputs) > 0 {
		why = zeroHandle
	}
	lost.Lock()
	defer lost.Unlock()
	if len(lost.calls) < maxLost {
		lost.calls = append(lost.calls, n.err(errors.New(why)))
	}
}

func takeLost() topology.Errors {
	lost.Lock()
	defer lost.Unlock()
	calls := lost.calls
	lost.calls = nil
	return calls
}
