package memtable

import (
	"sync"
	"sync/atomic"
)

// DefaultBudget is the memory, in bytes, that the memtables of an App's stores share unless its
// Config sets another.
const DefaultBudget = 64 << 20

// Budget is the memory that the memtables of all stores of one App share. It counts the memory that
// a flush can free: active, sealed and cached memtables, and the undo records of unsettled epochs.
// Stores without a disk are counted apart (Pinned) and have no limit, since no flush makes them
// smaller. So are flushed tables that only snapshots still read (Retained); an engine ends snapshots
// before these are more than the limit, once more. Safe from any goroutine.
//
// The limit is soft. Above three quarters of it the largest store is asked for an early cut, at
// which it seals its memtable. When the limit is reached (Full), the runtime processes no further
// batch until there is Room.
type Budget struct {
	limit, high int64
	used        atomic.Int64
	flushing    atomic.Int64 // the part of used that is being flushed: it is freed without being asked for
	pinned      atomic.Int64
	retained    atomic.Int64

	mu       sync.Mutex
	accounts map[*Account]struct{}
	notFull  chan struct{} // closed, and set to nil, when used falls below the limit; nil while nobody waits
	pool     pool
}

// NewBudget returns a budget of limit bytes; DefaultBudget when limit is not positive.
func NewBudget(limit int64) *Budget {
	if limit <= 0 {
		limit = DefaultBudget
	}
	return &Budget{limit: limit, high: limit / 4 * 3, accounts: map[*Account]struct{}{}, pool: pool{limit: limit / 8}}
}

// Limit returns the bytes that the budget allows.
func (b *Budget) Limit() int64 { return b.limit }

// Used returns the bytes in memtables that can be flushed, those being flushed included.
func (b *Budget) Used() int64 { return b.used.Load() }

// Pinned returns the bytes of stores that live in memory alone.
func (b *Budget) Pinned() int64 { return b.pinned.Load() }

// Retained returns the bytes of tables that are kept for snapshots alone.
func (b *Budget) Retained() int64 { return b.retained.Load() }

// Full reports whether the limit is reached. The runtime should process no further records then
// until there is Room.
func (b *Budget) Full() bool { return b.used.Load() >= b.limit }

// Pressing reports whether memtables that are not being flushed yet use more than three quarters of
// the limit.
func (b *Budget) Pressing() bool { return b.used.Load()-b.flushing.Load() > b.high }

// Room returns a channel that is closed as soon as the budget is not full.
func (b *Budget) Room() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.notFull == nil {
		b.notFull = make(chan struct{})
	}
	room := b.notFull
	// The check comes after the channel is in place. The other way round, memory freed in between
	// would find no channel to close, and the caller would wait although there is room.
	if !b.Full() {
		close(b.notFull)
		b.notFull = nil
	}
	return room
}

func (b *Budget) add(n int64) {
	before := b.used.Add(n) - n
	if n < 0 && before >= b.limit && before+n < b.limit {
		b.mu.Lock()
		if b.notFull != nil {
			close(b.notFull)
			b.notFull = nil
		}
		b.mu.Unlock()
	}
}

// askLargest asks the account that can free most memory for an early cut, unless the accounts that
// were asked already will free enough. The callback runs without the lock, since it may allocate.
func (b *Budget) askLargest() {
	b.mu.Lock()
	var largest *Account
	unasked := b.used.Load() - b.flushing.Load()
	for a := range b.accounts {
		switch {
		case a.asked.Load():
			unasked -= a.reclaimable()
		case largest == nil || a.reclaimable() > largest.reclaimable():
			largest = a
		}
	}
	b.mu.Unlock()
	if unasked <= b.high || largest == nil || largest.asked.Swap(true) {
		return
	}
	if ask := largest.onPressure.Load(); ask != nil {
		(*ask)()
	}
}

// Account counts the memory of one store within a Budget.
type Account struct {
	budget     *Budget
	apart      *atomic.Int64 // where its memory counts that no flush frees; nil: it does not count apart
	used       atomic.Int64
	flushing   atomic.Int64
	asked      atomic.Bool
	onPressure atomic.Pointer[func()]
}

// Open returns a new account of the budget, to be closed with the store. Pinned accounts are for
// stores without a disk.
func (b *Budget) Open(pinned bool) *Account {
	if pinned {
		return &Account{budget: b, apart: &b.pinned}
	}
	a := &Account{budget: b}
	b.mu.Lock()
	b.accounts[a] = struct{}{}
	b.mu.Unlock()
	return a
}

// OpenRetained returns an account for tables that are kept for snapshots alone.
func (b *Budget) OpenRetained() *Account { return &Account{budget: b, apart: &b.retained} }

// Close removes the account from the budget. Its tables must have been released.
func (a *Account) Close() {
	a.budget.mu.Lock()
	delete(a.budget.accounts, a)
	a.budget.mu.Unlock()
}

// Budget returns the budget that the account belongs to.
func (a *Account) Budget() *Budget { return a.budget }

// Used returns the bytes of the account's tables.
func (a *Account) Used() int64 { return a.used.Load() }

// OnPressure sets the function that is called when this account should free memory by an early cut.
// It is called once until Asked, on the goroutine of any store that allocates, and must neither
// block nor call a store. nil: none.
func (a *Account) OnPressure(f func()) {
	if f == nil {
		a.onPressure.Store(nil)
		return
	}
	a.onPressure.Store(&f)
}

// Asked reports whether the account has been asked to free memory since the last call of Asked.
func (a *Account) Asked() bool { return a.asked.Load() && a.asked.Swap(false) }

// AddFlushing adds n bytes to what is being flushed; a negative n removes them.
func (a *Account) AddFlushing(n int64) {
	a.flushing.Add(n)
	a.budget.flushing.Add(n)
}

// reclaimable returns the bytes of the account that are not being flushed yet.
func (a *Account) reclaimable() int64 { return a.used.Load() - a.flushing.Load() }

func (a *Account) charge(n int64) {
	a.used.Add(n)
	if a.apart != nil {
		a.apart.Add(n)
		return
	}
	a.budget.add(n)
	// What was freed may be of other sizes than what is needed now.
	if n > 0 && a.budget.pool.keepers.Load() > 0 {
		a.budget.shrinkPool(a.budget.limit - a.budget.used.Load())
	}
	if n > 0 && a.budget.Pressing() {
		a.budget.askLargest()
	}
}
