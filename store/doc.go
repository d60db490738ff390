// Package store has the state of a topology: references to stores, their options, and what the
// reader of a store can ask.
//
// There are four kinds of stores. A key-value store has rows with distinct keys (KeyValue). A
// window store has rows with a key and the start of a window (Window), a session store rows with a
// key, a start and an end (Session). A versioned store has versions of rows (Versioned).
//
// A reference to a store is made once, and listed where a processor is made that uses it. Its
// method In opens the store: in the processor, in a test, or with an App to query it.
package store
