// Package oracle compares each operator that keeps state with a naive recomputation from the whole history of its inputs, under random
// histories: ties in time, late records, jumps, nulls, tombstones, missing keys, several keys and partitions; with crashes, lost disks and
// moves to another instance at points at which the commit has settled, which nobody may notice. It has no code but tests; docs/testing.md
// says how to run them.
//
// A model is a function from a history to what follows from each of its records. It imports nothing of internal/dsl/operator, and is written from
// what Kafka Streams documents and does: TestModelsAgreeWithKafkaStreams replays the vectors of tests/conformance on the models
// themselves.
package oracle
