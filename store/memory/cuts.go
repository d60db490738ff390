package memory

import "github.com/millstream-go/millstream/internal/invariant"

// Cuts are the epochs that are cut and neither settled nor undone, oldest first. It keeps invariant 3 of store.Engine.
type Cuts []uint64

// Add notes a cut.
func (c *Cuts) Add(epoch uint64) { *c = append(*c, epoch) }

// Settle takes out all epochs up to this one, which must be there.
func (c *Cuts) Settle(epoch uint64) {
	for i, e := range *c {
		if e == epoch {
			*c = append((*c)[:0], (*c)[i+1:]...)
			return
		}
	}
	invariant.Fail("epoch %d is settled but not cut, or undone: %v are cut", epoch, []uint64(*c))
}

// Undo takes out all.
func (c *Cuts) Undo() { *c = (*c)[:0] }
