// Package mailbox hands things from many goroutines to one.
package mailbox

import "sync"

// Mailbox collects what several goroutines put, for one goroutine that takes all of it at once.
// That costs one lock a batch, where a channel costs one an item, and Put never blocks: a worker
// that waits for a full channel of a goroutine which waits for the worker would stop both. New
// makes one.
type Mailbox[T any] struct {
	ready chan struct{} // capacity 1: something was put since the last Drain

	mu    sync.Mutex // never held while waiting for anything
	items []T
}

// New returns an empty mailbox.
func New[T any]() *Mailbox[T] { return &Mailbox[T]{ready: make(chan struct{}, 1)} }

// Put adds an item. Safe from any goroutine.
func (m *Mailbox[T]) Put(item T) {
	m.mu.Lock()
	m.items = append(m.items, item)
	m.mu.Unlock()
	m.Wake()
}

// Wake makes Ready readable without adding anything. Safe from any goroutine.
func (m *Mailbox[T]) Wake() {
	select {
	case m.ready <- struct{}{}:
	default: // it is readable already: one wake-up is enough for everything that was put
	}
}

// Ready is readable when something may have been put. Only the reader uses it.
func (m *Mailbox[T]) Ready() <-chan struct{} { return m.ready }

// Drain returns what was put, in order. It reuses the memory of used, which the reader has finished
// with, for what comes next, so that two slices are all that a mailbox ever needs. Only the reader
// calls it.
func (m *Mailbox[T]) Drain(used []T) []T {
	clear(used) // what it refers to can be collected
	m.mu.Lock()
	items := m.items
	m.items = used[:0]
	m.mu.Unlock()
	return items
}
