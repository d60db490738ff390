// Package soak has no code but its test: stores under writes, reads from outside, stops and crashes for as long as one likes.
// What they use has to stay the same: memory, files, mapped files, descriptors and goroutines.
package soak
