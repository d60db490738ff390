// Package recordbatch reads and writes Kafka's record batches, in the message format that Kafka has
// had since 0.11 (magic 2): bytes to records and records to bytes, compression included. It knows
// no connection, no request and no broker.
//
// A Decoder turns the batches of a fetch response into records, a piece at a time and within bounds
// of memory: a few bytes may decompress to very many, and whoever may write to a topic chooses
// these bytes. An Encoder makes a batch of Records, into which a producer has put its records
// beforehand.
//
// Why not a client's own decoder: Sarama makes a struct of 150 bytes for each record, from which
// ours would have to be made, takes a batch with more records than bytes for an incomplete one, and
// gives a whole response up for one corrupt batch.
package recordbatch
