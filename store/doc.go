// Package store says what state a topology keeps: references to stores, their options, and what a reader of one can ask. The
// engines below are in store/memory and store/bolt; an engine sees bytes (Engine), a topology rows of its types (KeyValue).
package store
