package task

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// aheadRecords is of how many records the stores get the keys at once, before the first of them is
// processed. A store of many rows waits for memory in each look-up. The records of a fetched batch are known,
// so it can wait for several at once. Their keys are most often those of its rows, as bytes, too: a
// topic and the store that is filled from it have the same serde. Where they are not, the store finds
// out, and nothing is lost but a little time.
const aheadRecords = 16

// readAhead passes the keys that come next in the batch of q to the stores below.
func (t *Task) readAhead(q *queue, b *kafka.Batch) {
	keys, times := t.aheadKeys[:0], t.aheadTimes[:0]
	for i := q.recordIndex; i < min(q.recordIndex+aheadRecords, len(b.Records)); i++ {
		if key := b.Records[i].Key; key != nil {
			keys, times = append(keys, key), append(times, b.Records[i].Time)
		}
	}
	// One look-up has nothing to share its wait with.
	if len(keys) > 1 {
		for _, s := range q.stores.byKey {
			s.ReadAhead(keys)
		}
		for _, s := range q.stores.timed {
			s.ReadAheadAt(keys, times)
		}
	}
	clear(keys) // otherwise they would keep their batch in memory
}

// aheadStores are stores that get the keys which come next.
type aheadStores struct {
	byKey []storage.AheadReader
	timed []storage.TimedAheadReader // whose rows have a time, too
}

func (a *aheadStores) none() bool { return len(a.byKey)+len(a.timed) == 0 }

// storesBelow returns the stores of the steps that records of a source come to.
func (t *Task) storesBelow(source *graph.Node) (stores aheadStores) {
	seen := map[*graph.Node]bool{}
	added := map[string]bool{}
	var visit func(*graph.Node)
	visit = func(n *graph.Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, name := range n.Stores {
			if i, ok := t.engineIndex[name]; ok && !added[name] {
				added[name] = true
				switch reader := t.engines[i].Engine.(type) {
				case storage.TimedAheadReader:
					stores.timed = append(stores.timed, reader)
				case storage.AheadReader:
					stores.byKey = append(stores.byKey, reader)
				}
			}
		}
		for _, port := range n.Ports {
			for _, child := range port.Children {
				visit(child)
			}
		}
	}
	visit(source)
	return stores
}
