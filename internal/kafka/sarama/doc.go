// Package sarama implements internal/kafka on Sarama's protocol layer (github.com/IBM/sarama,
// imported as ibm). Its Broker is used: framing, TLS, SASL, and the encoding and decoding of
// requests but those that carry records. Its Client, Consumer, ConsumerGroup, AsyncProducer and
// ClusterAdmin are not.
//
// Why not those: they move one record at a time through channels (measured: as much CPU per record
// as all of Kafka Streams), and a Broker's mutex is held for a whole round trip, so whatever shares
// a Broker waits for its long polls. Here a connection belongs to one role and is used by one
// goroutine at a time. A connection that must not be waited for is closed, which makes the call in
// progress return.
//
// The files read as two stories with a connection below:
//
//   - Fetch: the fetcher finds the leader of each partition (fetch.go). A reader for each broker makes a request
//     (fetch_reader.go, fetch_request.go), parses the response (fetch_parse.go) and decides what it means
//     (fetch_response.go). The records come from package recordbatch.
//   - Produce: the owner fills chunks (produce.go, produce_chunk.go). The dispatcher makes batches of them
//     (produce_dispatch.go, produce_batch.go). A sender for each broker writes them (produce_sender.go,
//     produce_request.go). The dispatcher decides what the response means (produce_response.go), and
//     tickets complete (produce_ticket.go).
//   - Connection: one to one broker (conn.go), the pool of a role (conn_pool.go), what stands between Sarama
//     and the network (conn_intercept.go), and why a connection failed (conn_explain.go, auth_error.go).
//
// Beside them are groups and their offsets (group.go, group_offsets.go), administration (admin.go,
// admin_offsets.go), what is known of the cluster (metadata.go) and which brokers answer
// (reachability.go).
//
// Invariants, cited in the code by their number:
//
//  1. A Broker is called by one goroutine at a time. Nobody waits for its mutex while its owner waits for
//     the network, so a simulated clock (testing/synctest) is never stopped, and nothing queues behind a
//     long poll.
//  2. A connection is never used again after a call on it failed in transport: it is closed and another
//     one is opened.
//  3. At most one batch of a partition is under way, and its sequence stays the same until its fate is known.
//  4. A batch whose fate is not known (an attempt may have been appended) is only ever written again as it was.
//  5. Nothing of a partition is delivered after Remove, a further Add, or Close has returned.
package sarama
