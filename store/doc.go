// Package store says what state a topology keeps: references to stores, their options, and what a reader of one can ask. A store has
// rows with distinct keys (KeyValue), rows that have a key and the start of a window (Window) or a start and an end (Session), or versions of
// rows (Versioned). A reference is made once, listed where a processor is made, and opened with In: by the processor, by a test, by an App.
//
// The engines below are in store/memory and store/bolt; an engine sees bytes (Engine), a topology rows of its types.
package store
