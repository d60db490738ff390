// Package sarama implements internal/kafka on Sarama's protocol layer: its Broker (framing, TLS, SASL, encoding and decoding of
// requests) is used, its Client, Consumer, ConsumerGroup, AsyncProducer and ClusterAdmin are not.
//
// Why not those: they move one record at a time through channels (measured: as much CPU per record as all of Kafka Streams), and
// a Broker's mutex is held for a whole round trip, so whatever shares a Broker waits for its long polls. Here a connection
// belongs to one role and is used by one goroutine at a time; a connection that must not be waited for is cut, which makes the
// call in progress return.
//
// Invariants, cited in the code by their number:
//
//  1. A Broker is called by one goroutine at a time. Nobody waits for its mutex while its owner waits for the network, so a
//     simulated clock (testing/synctest) is never stopped, and nothing queues behind a long poll.
//  2. A connection is never used again after a call on it failed in transport: it is cut and another one is opened.
//  3. At most one batch of a partition is under way, and it keeps its sequence until its fate is known.
//  4. A batch whose fate is not known (an attempt may have been appended) is only ever sent again as it was.
//  5. Nothing of a partition is delivered after Remove, a further Add, or Close has returned.
package sarama
