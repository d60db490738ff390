// Package app tests whole Apps beside an in-process broker, from outside: what a service would see. Each file is about one feature and
// named after it; a suffix says which situation it is in (_rebalance, _fault, _restart). helpers_test.go has what several of them use.
//
// Tests run in a bubble of testing/synctest, where seconds of rebalancing take milliseconds.
package app
