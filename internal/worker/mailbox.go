package worker

import "sync"

// Mailbox is where goroutines leave things for one goroutine, which takes them all at once: one lock a batch, nothing a record.
// Putting never blocks. Made by NewMailbox.
type Mailbox[T any] struct {
	wake chan struct{} // capacity 1: something was put since the last Take

	mu    sync.Mutex // never held while waiting for anything
	items []T
}

// NewMailbox returns an empty mailbox.
func NewMailbox[T any]() *Mailbox[T] { return &Mailbox[T]{wake: make(chan struct{}, 1)} }

// Put leaves x. Safe from any goroutine.
func (m *Mailbox[T]) Put(x T) {
	m.mu.Lock()
	m.items = append(m.items, x)
	m.mu.Unlock()
	m.Poke()
}

// Poke wakes the reader without leaving anything.
func (m *Mailbox[T]) Poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Wake is readable when something may be there. Owned by the reader.
func (m *Mailbox[T]) Wake() <-chan struct{} { return m.wake }

// Take returns what was left, in order, and uses the memory of used, which the reader is done with, for what comes next.
// Owned by the reader.
func (m *Mailbox[T]) Take(used []T) []T {
	clear(used)
	m.mu.Lock()
	items := m.items
	m.items = used[:0]
	m.mu.Unlock()
	return items
}
