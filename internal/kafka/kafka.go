// Package kafka says, in our words, what the runtime needs of a Kafka client. Package internal/kafka/sarama implements it on
// Sarama's protocol layer; nothing else of the module imports Sarama.
//
// One connection per role: a Sarama Broker holds its lock for a whole round trip, so a heartbeat sent on the connection of a
// long-poll fetch waits for that poll (measured at 5 s). Each method group below is a role with connections of its own.
//
// A nil slice is an absent key, value or header value, and only a nil slice: implementations must turn the wire's null into
// nil and an empty field into a non-nil empty slice, and back.
package kafka

import (
	"context"
	"fmt"
	"time"
)

// TopicPartition names a partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns "orders[3]".
func (tp TopicPartition) String() string { return fmt.Sprintf("%s[%d]", tp.Topic, tp.Partition) }

// TopicID is the broker's identity of a topic: another one after a topic was deleted and created again. Zero when the broker
// knows no topic ids (below 2.8).
type TopicID [16]byte

// Header is one header of a record.
type Header struct {
	Name  string
	Value []byte // nil: null
}

// Record is one record as it was fetched. Key, Value and header values alias the fetched batch, which belongs to the garbage
// collector and is never recycled; a holder of one record keeps its whole batch alive.
type Record struct {
	Key, Value []byte // nil: absent
	Headers    []Header
	Offset     int64
	Time       int64 // milliseconds since 1970
}

// Batch is what one fetch response held of one partition. Records may be empty while Next moves: markers, aborted
// transactions and compacted offsets take offsets too.
type Batch struct {
	TopicPartition
	Records []Record
	Next    int64 // the position after the batch
	Bytes   int   // what the batch holds in memory, for back-pressure

	HighWatermark int64 // the partition's end, open transactions included
	LastStable    int64 // the end for a read_committed reader
	LogStart      int64
}

// Isolation says which records of transactions a fetch or an offset look-up sees.
type Isolation int8

const (
	// ReadUncommitted sees all records; its end offset is the high watermark.
	ReadUncommitted Isolation = iota
	// ReadCommitted sees no record of an open or aborted transaction; its end offset is the last stable offset.
	ReadCommitted
)

// Sink takes what a Fetcher fetched. Its methods are called on the fetcher's goroutines, one call at a time per partition; they
// must neither block nor call the Fetcher.
type Sink interface {
	// Deliver takes a batch. Until Fetcher.Release gives its Bytes back they count against the partition's buffer.
	Deliver(b *Batch)
	// FetchFailed reports an error that the fetcher cannot cure by itself: *OffsetOutOfRange, an authorization error, a topic
	// that is gone (ErrUnknownTopic after its retries), a corrupt batch. The partition is left out of fetches until it is
	// added again.
	FetchFailed(tp TopicPartition, err error)
}

// OffsetOutOfRange says that a wanted offset is not in the log.
type OffsetOutOfRange struct {
	TopicPartition
	Wanted, Start, End int64 // available: [Start, End)
}

func (e *OffsetOutOfRange) Error() string {
	return fmt.Sprintf("%s: offset %d is not available, the log holds [%d, %d)", e.TopicPartition, e.Wanted, e.Start, e.End)
}

// FetchConfig configures a Fetcher.
type FetchConfig struct {
	Isolation Isolation
	// MaxWait is how long a broker may hold a fetch that finds nothing. Defaults to 500ms.
	MaxWait time.Duration
	// PartitionBytes bounds what one response holds of a partition. Defaults to 512 KiB; a larger batch still arrives.
	PartitionBytes int32
	// BufferBytes is what may be delivered and not yet released per partition before it is left out of fetches. Defaults to 1 MiB.
	BufferBytes int
}

// A Fetcher reads partitions, one goroutine per broker. Safe for use by several goroutines.
type Fetcher interface {
	// Add starts to fetch tp at offset and delivers to s. Adding a partition again moves it: nothing of the former position is
	// delivered once Add has returned.
	Add(tp TopicPartition, offset int64, s Sink)
	// Remove stops fetching tps: nothing of them is delivered once Remove has returned.
	Remove(tps ...TopicPartition)
	// Release gives back bytes of a batch of tp that was delivered.
	Release(tp TopicPartition, bytes int)
	// Healthy returns nil, or why some partition's leader cannot be reached at present.
	Healthy() error
	// Close stops all goroutines and closes the connections. Nothing is delivered once it has returned.
	Close()
}

// ProduceRecord is a record to be written. The producer copies the bytes before Send returns.
type ProduceRecord struct {
	Key, Value []byte // nil: absent
	Headers    []Header
	Time       int64 // milliseconds since 1970
}

// ProduceFailure is a record that the broker refused for good (too large, invalid timestamp, topic gone, not authorized).
type ProduceFailure struct {
	TopicPartition
	Record ProduceRecord
	Err    error
}

// ProduceConfig configures a Producer.
type ProduceConfig struct {
	// BatchBytes closes a record batch. Defaults to 256 KiB.
	BatchBytes int
	// BufferBytes is what may be queued and unacknowledged before Send waits. Defaults to 8 MiB.
	BufferBytes int
	// Compression is "none", "gzip", "snappy", "lz4" or "zstd". Defaults to none.
	Compression string
	// Allowed, when set, is asked before a request is sent; an error keeps the request queued until it says nil. The runtime
	// answers with an error when the session may have run out, so that a thawed zombie appends nothing. Called on goroutines of the
	// producer, also at the same time; it must not block.
	Allowed func() error
	// OnFailure is called for each record that was refused for good, on a goroutine of the producer; it must not block and not call
	// the producer. The record is out of the producer's hands then, and the Ticket of its epoch fails unless it returns true.
	OnFailure func(ProduceFailure) (handled bool)
}

// A Producer writes idempotently with acks=all: in order per partition, each record once, retried with the same sequence
// through leader moves and lost answers. It is owned by one goroutine, which alone may call it.
//
// There is no lingering: a record waits only while an earlier batch of its partition is under way, so batches grow with the
// load and an idle partition answers at once.
type Producer interface {
	// Send queues a record for an explicit partition and copies its bytes. It waits while BufferBytes are unacknowledged, and
	// returns ErrTooLarge for a record over the limit of its topic without queueing it.
	Send(ctx context.Context, tp TopicPartition, r ProduceRecord) error
	// Flush starts to send what is queued and does not wait. The owner calls it after each round of records.
	Flush()
	// Cut returns a ticket that completes when all records sent so far are acknowledged or have failed. It implies Flush.
	Cut() *Ticket
	// Healthy returns nil, or why a broker cannot be written to at present.
	Healthy() error
	// Close abandons what is not acknowledged and ends the goroutines; outstanding tickets fail.
	Close()
}

// Ticket is the outcome of all records sent before a Cut.
type Ticket struct {
	// Done is closed when the outcome is known. Ends and Err may be read after that.
	Done chan struct{}
	// Ends is, for each partition written since the producer began, the offset after its last acknowledged record.
	Ends map[TopicPartition]int64
	// Foreign lists partitions in which an acknowledged batch did not follow the one before it: somebody else writes there.
	// Only partitions named to Expect are checked.
	Foreign []ForeignWrite
	// Err is nil when every record was accepted, or handed to OnFailure which answered true.
	Err error
}

// ForeignWrite says that offsets [From, To) of a partition are not this producer's.
type ForeignWrite struct {
	TopicPartition
	From, To int64
}

// Expecter is implemented by producers that notice foreign writes.
type Expecter interface {
	// Expect says that the next record written to tp should get offset, as its only writer knows.
	Expect(tp TopicPartition, offset int64)
}

// JoinRequest asks to become a member of the next generation.
type JoinRequest struct {
	Group, MemberID  string // MemberID is empty on the first join
	ProtocolType     string // "consumer"
	Protocol         string
	Metadata         []byte // the subscription, in the format of Kafka's consumer protocol
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	Reason           string
}

// JoinResponse is what the coordinator answers when all members have joined.
type JoinResponse struct {
	Generation         int32
	MemberID, LeaderID string
	Members            map[string][]byte // metadata by member; filled for the leader only
}

// Group is the membership role: one request at a time, on a connection of its own. It finds the coordinator, and finds it
// again when that moves, but does not repeat a request that was refused: what an error means is the caller's to say.
type Group interface {
	// Join returns when the coordinator has heard of all members. On an error the response has the MemberID under which the coordinator
	// may know the member already, empty when it knows none: who does not join again leaves under it.
	Join(ctx context.Context, r JoinRequest) (JoinResponse, error)
	Sync(ctx context.Context, group, memberID string, generation int32, assignments map[string][]byte) ([]byte, error)
	Heartbeat(ctx context.Context, group, memberID string, generation int32) error
	Leave(ctx context.Context, group, memberID, reason string) error
	// Abort closes the connection, so that a call that waits returns. Safe from any goroutine.
	Abort()
	Close()
}

// OffsetMeta is a committed offset with the metadata string that travels with it.
type OffsetMeta struct {
	Offset   int64 // -1: none
	Metadata string
}

// Offsets is the role that commits and reads a group's offsets, apart from membership: with a JoinGroup outstanding on the same
// connection an OffsetCommit took 3.6 s and failed; on another one 3 ms. Safe for use by several goroutines.
type Offsets interface {
	// Commit commits offsets as a member of a generation. It returns one of the group errors, or the error of the first
	// partition refused.
	Commit(ctx context.Context, group, memberID string, generation int32, offsets map[TopicPartition]OffsetMeta) error
	// Fetch reads committed offsets with RequireStable, waiting (retrying) while a transaction on them is open. Each wanted
	// partition is in the result; Offset is -1 where nothing is committed.
	Fetch(ctx context.Context, group string, tps []TopicPartition) (map[TopicPartition]OffsetMeta, error)
	Close()
}

// TopicInfo is what the cluster knows of a topic.
type TopicInfo struct {
	Name       string
	ID         TopicID
	Partitions int
	Internal   bool
}

// TopicSpec is a topic to be created.
type TopicSpec struct {
	Name        string
	Partitions  int
	Replication int // -1: the broker's default
	Config      map[string]string
}

// Log positions for Admin.ListOffsets; other values are a time in milliseconds: the first offset at or after it.
const (
	Earliest int64 = -2
	Latest   int64 = -1
)

// Admin is the role that reads metadata and manages topics. Safe for use by several goroutines.
type Admin interface {
	// Topics returns the topics named, or all when none is; one that does not exist is not in the result.
	Topics(ctx context.Context, names ...string) (map[string]TopicInfo, error)
	// TopicConfig returns the configuration of a topic as the broker reports it.
	TopicConfig(ctx context.Context, name string) (map[string]string, error)
	// CreateTopic creates a topic and waits until its partitions have leaders; ErrTopicExists when it is there.
	CreateTopic(ctx context.Context, t TopicSpec) error
	// ListOffsets looks positions up, each as of isolation: Latest is the last stable offset under ReadCommitted. A time past
	// the end gives the end.
	ListOffsets(ctx context.Context, isolation Isolation, at map[TopicPartition]int64) (map[TopicPartition]int64, error)
	// DeleteRecords removes what is before each offset.
	DeleteRecords(ctx context.Context, before map[TopicPartition]int64) error
	// DeleteTopics removes topics; one that does not exist is no error.
	DeleteTopics(ctx context.Context, names ...string) error
	// DeleteGroup removes a group without members and its offsets.
	DeleteGroup(ctx context.Context, group string) error
	Close()
}

// Client opens the roles of one application. Safe for use by several goroutines.
type Client interface {
	Fetcher(FetchConfig) (Fetcher, error)
	Producer(ProduceConfig) (Producer, error)
	Group() (Group, error)
	Offsets() (Offsets, error)
	Admin() (Admin, error)
	// Close closes what is common to the roles; close the roles first.
	Close()
}
