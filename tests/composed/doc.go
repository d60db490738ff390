// Package composed runs programs of several operators that are composed at random: tests/oracle has each operator right, and here are their
// neighbours. A program is run in pairs of ways that must not change what comes out: with restarts and without, with a repartition topic behind
// each input and without, in one partition and in several, with repartition topics merged and apart, with tables kept in stores and not. It
// has no code but tests; docs/testing.md says how to run them.
package composed
