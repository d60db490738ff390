package millstream

import (
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

// stores opens the store partitions of an App.
type stores struct {
	budget *memory.Budget
}

func openStores(cfg Config, _ crashpoint.Hook) (*stores, error) {
	return &stores{budget: memory.NewBudget(cfg.MemoryBudget)}, nil
}

func (s *stores) process() [16]byte { return [16]byte{} }

func (s *stores) tasks(*graph.Graph) func() []graph.TaskID {
	return func() []graph.TaskID { return nil }
}

func (s *stores) borrow(st *graph.Store, partition int32) (store.Engine, error) {
	return memory.New(s.budget), nil
}

func (s *stores) giveBack(_ string, _ int32, e store.Engine) { _ = e.Close(false) }

func (s *stores) close(flush bool) error {
	s.budget.Close()
	return nil
}
