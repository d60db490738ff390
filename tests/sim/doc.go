// Package sim runs whole Apps and a Kafka of three brokers in one bubble of testing/synctest, in virtual time, breaks
// them on a seeded schedule, and checks what is left: a history. It has no code but tests; docs/testing.md says how to
// run them.
//
// A process is an App with connections and a state directory of its own. It can be killed: its connections are closed
// permanently, its directory is copied as it is at that moment, and what still runs of it dies at the next crash point.
// It can come back on that copy, on an empty directory, or on an older copy. It can be made a zombie: its connections
// are frozen past the session's timeout, and what it wrote meanwhile arrives when they thaw.
//
// The oracle. Of each acknowledged input: it was counted at least once, never more often than it was delivered, and
// exactly once if no epoch was given up. Each store's file, with its changelog replayed from the file's checkpoint, is
// what the whole changelog says. No kept partition pauses for more than a second because of a rebalance while all
// brokers answer. No App ends with an error, and all of them come to rest. Nothing of other applications' transactions
// is processed that was not committed, and nobody else ends these.
//
// With exactly once, each event is there once, whatever happened. A reader that has seen a part of a transaction sees
// all of it within two seconds, and queries show nothing that was not committed. In two of three of these histories
// coordinators answer before they carry out the end of a transaction, and the markers of the partitions come one by
// one.
package sim
