package memory

import (
	"sync"
	"sync/atomic"
)

// DefaultBudget is the memory, in bytes, that the write buffers of an App's stores share unless its Config says otherwise.
const DefaultBudget = 64 << 20

// Budget is the memory that the memtables of all stores of one App share. It counts what can be given back by writing it
// to disk: active, sealed and cached memtables and what undoes uncommitted epochs. Stores that live in memory alone are
// counted as Pinned, outside the limit: no flush makes them smaller. Safe from any goroutine.
//
// The limit is soft. Above three quarters of it the store with the most to give is asked for an early cut, at which it
// seals its memtable; when it is reached, Full tells the runtime to take no further batch.
type Budget struct {
	limit, high int64
	used        atomic.Int64
	draining    atomic.Int64 // the part of used that is sealed: a flush will give it back without being asked
	pinned      atomic.Int64

	mu       sync.Mutex
	accounts map[*Account]struct{}
	room     chan struct{} // closed and forgotten when used falls below the limit; nil while nobody waits
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

// Full is whether the limit is reached: the runtime should process no further records before Room.
func (b *Budget) Full() bool { return b.used.Load() >= b.limit }

// Pressing is whether memtables that nobody is flushing yet take more than three quarters of the limit.
func (b *Budget) Pressing() bool { return b.used.Load()-b.draining.Load() > b.high }

// Room returns a channel that is closed as soon as the budget is not full.
func (b *Budget) Room() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room == nil {
		b.room = make(chan struct{})
	}
	room := b.room
	// Checked after the channel is in place: memory that is given back in between closes it.
	if !b.Full() {
		close(b.room)
		b.room = nil
	}
	return room
}

func (b *Budget) add(n int64) {
	before := b.used.Add(n) - n
	if n < 0 && before >= b.limit && before+n < b.limit {
		b.mu.Lock()
		if b.room != nil {
			close(b.room)
			b.room = nil
		}
		b.mu.Unlock()
	}
}

// press asks the account that has most to give, unless what those will give that have been asked already is enough. The callback
// runs without the lock: it may allocate.
func (b *Budget) press() {
	b.mu.Lock()
	var most *Account
	left := b.used.Load() - b.draining.Load()
	for a := range b.accounts {
		switch {
		case a.asked.Load():
			left -= a.idle()
		case most == nil || a.idle() > most.idle():
			most = a
		}
	}
	b.mu.Unlock()
	if left <= b.high || most == nil || most.asked.Swap(true) {
		return
	}
	if ask := most.ask.Load(); ask != nil {
		(*ask)()
	}
}

// Account is one store's share of a Budget.
type Account struct {
	budget *Budget
	pinned bool
	used   atomic.Int64
	drain  atomic.Int64
	asked  atomic.Bool
	ask    atomic.Pointer[func()]
}

// Open returns a new account of the budget. Pinned accounts belong to stores that have no disk. Close ends it.
func (b *Budget) Open(pinned bool) *Account {
	a := &Account{budget: b, pinned: pinned}
	if !pinned {
		b.mu.Lock()
		b.accounts[a] = struct{}{}
		b.mu.Unlock()
	}
	return a
}

// Close takes the account out of the budget. Its tables must have been released.
func (a *Account) Close() {
	a.budget.mu.Lock()
	delete(a.budget.accounts, a)
	a.budget.mu.Unlock()
}

// Budget returns the budget that the account belongs to.
func (a *Account) Budget() *Budget { return a.budget }

// Used returns the bytes that the account's tables hold.
func (a *Account) Used() int64 { return a.used.Load() }

// OnPressure sets what is called, once until Asked, when this account should give memory back by an early cut. It is
// called on the goroutine of any store that allocates, must not block and must not call a store. nil: nothing.
func (a *Account) OnPressure(f func()) {
	if f == nil {
		a.ask.Store(nil)
		return
	}
	a.ask.Store(&f)
}

// Asked is whether the account has been asked to give memory back since the last call.
func (a *Account) Asked() bool { return a.asked.Load() && a.asked.Swap(false) }

// Drain moves n bytes to, or with a negative n from, what is being flushed.
func (a *Account) Drain(n int64) {
	a.drain.Add(n)
	a.budget.draining.Add(n)
}

// idle is what the account holds and is not giving back already.
func (a *Account) idle() int64 { return a.used.Load() - a.drain.Load() }

func (a *Account) charge(n int64) {
	a.used.Add(n)
	if a.pinned {
		a.budget.pinned.Add(n)
		return
	}
	a.budget.add(n)
	if n > 0 && a.budget.Pressing() {
		a.budget.press()
	}
}
