package memtable

import "github.com/millstream-go/millstream/internal/invariant"

// OpenEpochs are the epochs that were cut and are neither settled nor undone, oldest first. Engines
// use it to check invariant 3 of storage.Engine.
type OpenEpochs []uint64

// Add adds an epoch at its cut.
func (oe *OpenEpochs) Add(epoch uint64) { *oe = append(*oe, epoch) }

// Settle removes all epochs up to this one, which must be open.
func (oe *OpenEpochs) Settle(epoch uint64) {
	for i, open := range *oe {
		if open == epoch {
			*oe = append((*oe)[:0], (*oe)[i+1:]...)
			return
		}
	}
	invariant.Fail("epoch %d is settled but not cut, or undone: %v are cut", epoch, []uint64(*oe))
}

// Undo removes all epochs.
func (oe *OpenEpochs) Undo() { *oe = (*oe)[:0] }
