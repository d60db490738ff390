// Package kafka is the Kafka client as the runtime needs it: interfaces, their types and their
// errors. Package internal/kafka/sarama implements them on Sarama's protocol layer; nothing else of
// the module imports Sarama.
//
// A Client opens roles: Fetcher, Producer, Group, Offsets and Admin. Each role has connections of
// its own. Why not one connection for all: a Sarama Broker holds its lock for a whole round trip,
// so that a heartbeat on the connection of a fetch waits until the long poll ends (measured at 5
// s).
//
// A nil slice is an absent key, value or header value, and only a nil slice: implementations must
// turn the wire's null into nil and an empty field into a non-nil empty slice, and back.
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

// TopicID identifies a topic: one that was deleted and created again has another. It is zero when
// the broker knows no topic ids (below 2.8).
type TopicID [16]byte

// Header is one header of a record.
type Header struct {
	Name  string
	Value []byte // nil: null
}

// Record is one record as it was fetched. Key, Value and header values alias the memory of the
// fetched batch, which is never used again for another: as long as one record is referenced, its
// whole batch stays in memory.
type Record struct {
	Key, Value []byte // nil: absent
	Headers    []Header
	Offset     int64
	Time       int64 // milliseconds since 1970
}

// Batch is records of one partition from one fetch response. There may be none although Next moves:
// markers, aborted transactions and records that compaction has removed have offsets too.
type Batch struct {
	TopicPartition
	Records []Record
	Next    int64 // the position behind the batch
	// Missing is how many offsets between the position and Next the log does not have any more: compaction has removed
	// their records. Markers and records of aborted transactions are there, though no Records. Of a batch that begins
	// before the position, what is missing there counts too.
	Missing int64
	Bytes   int // what the batch takes in memory, for back-pressure

	// Unreadable is not nil when a record batch has arrived whole and cannot be read: it decompresses
	// to more than FetchConfig.InflatedBytes, or its records are not in Kafka's format. Then Records
	// is a single record, without key and value, at the offset of the first in the batch; Next is
	// behind the last.
	Unreadable *UnreadableBatch

	HighWatermark int64 // the partition's end, open transactions included
	LastStable    int64 // the end for a read_committed reader
	LogStart      int64

	// Recycle, when not nil, gives the memory of the records, of their keys, values and headers, back: batches
	// that are fetched later are written into it. Whoever calls it uses nothing of them any more. Nobody has to.
	Recycle func()
}

// UnreadableBatch is the error that a record batch cannot be read.
type UnreadableBatch struct {
	TopicPartition
	First, Last int64  // offsets
	Records     int    // as the batch says
	Bytes       int    // as it was fetched
	Compression string // "none", "gzip", "snappy", "lz4" or "zstd"
	Err         error  // an InflatedError, or what is wrong with its bytes
}

func (e *UnreadableBatch) Error() string {
	return fmt.Sprintf("%s: the record batch of offsets %d to %d "+
		"(%d records in %d bytes, compression %s) cannot be read: %v",
		e.TopicPartition, e.First, e.Last, e.Records, e.Bytes, e.Compression, e.Err)
}

// Unwrap returns the cause.
func (e *UnreadableBatch) Unwrap() error { return e.Err }

// InflatedError is the error that a record batch takes more memory than it may.
type InflatedError struct{ Limit int }

func (e *InflatedError) Error() string {
	return fmt.Sprintf("its records take more than %d bytes of memory, which is Config.MemoryBudget, at least 128 MiB: "+
		"raise it if the batch is meant to be so large, or have OnDecodeError, or the policy of its topic, skip it", e.Limit)
}

// Isolation is which records of transactions a fetch or an offset look-up sees.
type Isolation int8

const (
	// ReadUncommitted sees all records; its end offset is the high watermark.
	ReadUncommitted Isolation = iota
	// ReadCommitted sees no record of an open or aborted transaction; its end offset is the last
	// stable offset.
	ReadCommitted
)

// Sink receives what a Fetcher fetched. Its methods are called on the fetcher's goroutines, one
// call at a time per partition; they must neither block nor call the Fetcher.
type Sink interface {
	// Deliver receives a batch. Its Bytes count against the partition's buffer until Fetcher.Release
	// returns them.
	Deliver(b *Batch)
	// FetchFailed reports an error that a retry does not help: *OffsetOutOfRange, an authorization
	// error, a topic that does not exist any more (ErrUnknownTopic after its retries), a corrupt
	// batch. The partition is not fetched until it is added again.
	FetchFailed(tp TopicPartition, err error)
}

// OffsetOutOfRange is the error that a wanted offset is not in the log.
type OffsetOutOfRange struct {
	TopicPartition
	Wanted, Start, End int64 // available: [Start, End)
}

func (e *OffsetOutOfRange) Error() string {
	return fmt.Sprintf("%s: offset %d is not available, the log has [%d, %d)", e.TopicPartition, e.Wanted, e.Start, e.End)
}

// FetchConfig configures a Fetcher.
type FetchConfig struct {
	Isolation Isolation
	// MaxWait is how long a broker may delay the response to a fetch that finds nothing, and ten times
	// that after several of them. Defaults to 500ms.
	MaxWait time.Duration
	// PartitionBytes bounds what one response has of a partition. A larger record batch still arrives.
	// Defaults to 512 KiB.
	PartitionBytes int32
	// BufferBytes is what may be delivered of a partition and not yet released; a partition with more
	// is left out of fetches. It is also what one Batch may take beyond the bytes that were fetched,
	// unless a single record batch takes more. Defaults to 1 MiB.
	BufferBytes int
	// InflatedBytes is what a single record batch may take beyond the bytes that were fetched: its
	// decompressed bytes, and its records and headers. A larger one is delivered as Unreadable.
	// Batches over BufferBytes are decompressed one at a time in a client, as long as no task has to
	// wait too long for that. Defaults to 128 MiB.
	InflatedBytes int
}

// A Fetcher reads partitions, one goroutine per broker. Safe for use by several goroutines.
type Fetcher interface {
	// Add starts to fetch tp at offset and to deliver to s. A partition that is added again moves:
	// nothing from before is delivered once Add has returned.
	Add(tp TopicPartition, offset int64, s Sink)
	// Remove stops fetching tps: nothing of them is delivered once Remove has returned.
	Remove(tps ...TopicPartition)
	// Release returns bytes of a delivered batch of tp to the partition's buffer. Negative bytes take
	// room in it: of batches from before the partition was added again.
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

// ProduceFailure is a record that the broker refused permanently: too large, an invalid timestamp,
// a topic that does not exist any more, no authorization.
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
	// Allowed, when set, is called before a request is written; as long as it returns an error the
	// request waits. The runtime returns one when the member's session may have timed out, so that a
	// process that was suspended appends nothing. It is called on goroutines of the producer, also at
	// the same time, and must not block.
	Allowed func() error
	// OnFailure is called for each record that was refused permanently, on a goroutine of the
	// producer. It must neither block nor call the producer. Unless it returns true, the Ticket of the
	// record's epoch fails.
	OnFailure func(ProduceFailure) (handled bool)
	// OnNoRoom, when set, is called by Send before and after it waits because BufferBytes are
	// unacknowledged.
	OnNoRoom func(waits bool)
}

// A Producer writes idempotently with acks=all: in order per partition, each record once, retried
// with the same sequence when a leader moves or a response is missing. It is owned by one
// goroutine, which alone may call it.
//
// Nothing lingers: a record waits only while an earlier batch of its partition is under way, so
// that batches grow with the load and a record for an idle partition is written at once.
type Producer interface {
	// Send queues a record for an explicit partition and copies its bytes. It waits while BufferBytes
	// are unacknowledged, and returns ErrTooLarge for a record over the limit of its topic without
	// queueing it.
	Send(ctx context.Context, tp TopicPartition, r ProduceRecord) error
	// Flush starts to write what is queued, and does not wait. The owner calls it after each round of
	// records.
	Flush()
	// Cut returns a ticket that completes when all records sent so far are acknowledged or have
	// failed. It implies Flush.
	Cut() *Ticket
	// Healthy returns nil, or why a broker cannot be written to at present.
	Healthy() error
	// Close ends the goroutines. What is not acknowledged is abandoned, and outstanding tickets fail.
	Close()
}

// TransactionConfig configures a Transactor, beside its ProduceConfig.
type TransactionConfig struct {
	// ID is the transactional id: the name of whoever writes these transactions, over restarts. One producer at a time has
	// it.
	ID string
	// Timeout is after how long the coordinator aborts a transaction that has not ended. Defaults to a minute.
	Timeout time.Duration
}

// A Transactor is a Producer whose records belong to transactions, so that read-committed readers see all of one
// transaction, with its offsets, or none of it. A transaction is the records between two Cuts. Records that are sent
// after a Cut wait in the Transactor until that transaction has ended: invariants 1, 2 and 4.
//
//  1. The records of a transaction are those between two Cuts.
//  2. A transaction is committed only after all its records were acknowledged and its offsets accepted.
//  4. Nothing of a transaction leaves before the end of the one before was answered.
//  7. After an abort nothing is sent before the epoch was raised: a batch of before that arrives late is refused.
//
// Send and Cut belong to the owner, as in every Producer. So do Begin and Abort, during which no other call may be
// under way. CommitOffsets and End may be called on another goroutine, one call at a time: the owner goes on meanwhile.
//
// Errors of Begin, CommitOffsets, End and of tickets: ErrFenced, another producer has the transactional id, or the
// coordinator has aborted the transaction because of its time-out; Abort tells which. ErrUncertain, of a ticket:
// Abort helps. ErrUncertain, of End: nobody knows whether the transaction was committed.
type Transactor interface {
	Producer
	// Begin makes this the only producer of its transactional id. What an earlier one left open is aborted. It is called
	// before the first record is sent, and again to take the id back.
	Begin(ctx context.Context) error
	// CommitOffsets adds offsets of a group to the transaction that ends next, as a member of a generation. It returns
	// one of the group errors when the group refuses them; the transaction goes on then. Offsets that are committed
	// twice count once.
	CommitOffsets(
		ctx context.Context, group, memberID string, generation int32, offsets map[TopicPartition]OffsetMeta,
	) error
	// End commits the transaction of the oldest Cut that has not ended. The Ticket of that Cut must be done. A transaction
	// without records and offsets ends without a request. When ctx ends before the coordinator has answered, the error
	// wraps ErrUncertain.
	End(ctx context.Context) error
	// Extend has the open transaction, which was cut and has not ended, take in what was sent after the Cut: the next Cut
	// ends it. It does nothing when there was no Cut. The owner's; no End may be under way.
	Extend()
	// Abort aborts the transaction that is open, and drops all records whose transaction has not ended: their tickets
	// fail with ErrAborted. The producer is as after Begin then. ErrFenced: another producer has the transactional id.
	// After another error Abort is to be called again.
	Abort(ctx context.Context) error
	// AbortOpen aborts what is open, or what an earlier producer of the id has left open where Begin has not returned. It
	// is the last call before Close, and any other may be under way: readers are not to wait for the time-out of a
	// transaction whose producer has ended.
	AbortOpen(ctx context.Context) error
	// Began returns when the open transaction began for the coordinator, which aborts it when its time-out has passed
	// since; the zero time: it has not.
	Began() time.Time
	// Waiting returns how many bytes of records wait for an earlier transaction to end. Send does not wait for them, since
	// its caller may be who ends that transaction: it should send no more when they are many. The owner's.
	Waiting() int64
}

// Ticket is the outcome of all records sent before a Cut.
type Ticket struct {
	// Done is closed when the outcome is known. Ends and Err may be read after that.
	Done chan struct{}
	// Ends is, for each partition written since the producer began, the offset after its last
	// acknowledged record.
	Ends map[TopicPartition]int64
	// Foreign lists where an acknowledged batch did not follow the one before it: somebody else writes
	// to the partition. Only partitions of which Expect was called are checked.
	Foreign []ForeignWrite
	// Err is nil when every record was accepted, or OnFailure returned true for it.
	Err error
}

// ForeignWrite is offsets [From, To) of a partition that another producer wrote.
type ForeignWrite struct {
	TopicPartition
	From, To int64
}

// Expecter is implemented by producers that detect foreign writes.
type Expecter interface {
	// Expect notes that the next record written to tp should get offset, as its only writer knows.
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

// GroupMember is a member of a group as its coordinator knows it.
type GroupMember struct {
	ID, ClientID, Host string
	// Metadata is what the member has joined the present generation with. It is empty while the group rebalances: then
	// nobody knows yet who is in the next one.
	Metadata []byte
	// Assignment is what the group's leader has assigned to the member, empty as Metadata.
	Assignment []byte
}

// OpenTransaction is a transaction that has begun and not ended.
type OpenTransaction struct {
	ID       string // the transactional id
	Producer int64
	Epoch    int16
	Began    time.Time
	Timeout  time.Duration
}

// Group is the membership role: one request at a time, on a connection of its own. It finds the
// coordinator, also when that moves, but does not repeat a request that was refused: what an error
// means is the caller's to decide.
type Group interface {
	// Join returns when all members have joined. On an error the response has the MemberID under which
	// the coordinator may know the member already, or none: a caller that does not join again leaves
	// under it.
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

// Offsets is the role that commits and reads a group's offsets. Why not part of Group: with a
// JoinGroup under way on the same connection an OffsetCommit took 3.6 s and failed; on another one
// 3 ms. Safe for use by several goroutines.
type Offsets interface {
	// Commit commits offsets as a member of a generation. It returns one of the group errors, or the
	// error of the first partition that was refused.
	Commit(ctx context.Context, group, memberID string, generation int32, offsets map[TopicPartition]OffsetMeta) error
	// Fetch reads committed offsets with RequireStable, waiting (retrying) while a transaction on them
	// is open. Each wanted partition is in the result; Offset is -1 where nothing is committed.
	Fetch(ctx context.Context, group string, tps []TopicPartition) (map[TopicPartition]OffsetMeta, error)
	Close()
}

// TopicInfo is a topic as the cluster knows it.
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

// Log positions for Admin.ListOffsets; other values are a time in milliseconds: the first offset at
// or after it.
const (
	Earliest int64 = -2
	Latest   int64 = -1
)

// Admin is the role that reads metadata and manages topics. Safe for use by several goroutines.
type Admin interface {
	// Topics returns the named topics, or all when none is named; one that does not exist is not in
	// the result.
	Topics(ctx context.Context, names ...string) (map[string]TopicInfo, error)
	// TopicConfig returns the configuration of a topic as the broker reports it.
	TopicConfig(ctx context.Context, name string) (map[string]string, error)
	// AlterTopicConfig sets settings of a topic and leaves its others as they are
	// (IncrementalAlterConfigs, Kafka 2.3 and later).
	AlterTopicConfig(ctx context.Context, name string, set map[string]string) error
	// CreateTopic creates a topic and waits until its partitions have leaders; ErrTopicExists when it
	// is there, ErrInvalidConfig when the broker does not know one of its settings.
	CreateTopic(ctx context.Context, t TopicSpec) error
	// ListOffsets returns offsets for Earliest, Latest or times. Latest is the last stable offset
	// under ReadCommitted. For a time behind the last record it is the end.
	ListOffsets(ctx context.Context, isolation Isolation, at map[TopicPartition]int64) (map[TopicPartition]int64, error)
	// DeleteRecords removes what is before each offset. That it is removed already is no error.
	DeleteRecords(ctx context.Context, before map[TopicPartition]int64) error
	// DeleteTopics removes topics; one that does not exist is no error.
	DeleteTopics(ctx context.Context, names ...string) error
	// DeleteGroup removes a group without members and its offsets.
	DeleteGroup(ctx context.Context, group string) error
	// GroupMembers returns who is in a group, whatever protocol they speak; nobody when there is no
	// such group.
	GroupMembers(ctx context.Context, group string) ([]GroupMember, error)
	// OpenTransactions returns the open transactions whose ids are wanted, among those that the user may describe. Each
	// broker knows those that it coordinates: where one does not answer, the others' are returned with its error. Brokers
	// before 3.0 do not know the request.
	OpenTransactions(ctx context.Context, wanted func(id string) bool) ([]OpenTransaction, error)
	// AbortTransaction aborts that transaction and raises the epoch of its transactional id, so that its producer is
	// refused from then on. It reports false when the transaction has ended meanwhile, or is about to, or another producer
	// has the id: then it has done nothing. It repeats what a coordinator does not answer until ctx ends.
	AbortTransaction(ctx context.Context, open OpenTransaction) (aborted bool, err error)
	Close()
}

// Client opens the roles of one application. Safe for use by several goroutines.
type Client interface {
	Fetcher(FetchConfig) (Fetcher, error)
	Producer(ProduceConfig) (Producer, error)
	Transactor(ProduceConfig, TransactionConfig) (Transactor, error)
	Group() (Group, error)
	Offsets() (Offsets, error)
	Admin() (Admin, error)
	// Healthy returns nil, or an error that wraps ErrUnavailable while no broker answers: the
	// addresses, and why each does not; or while brokers say, for longer than it should take, that a
	// group or a transactional id has no coordinator. It covers all connections of all roles; a single
	// broker that is away is no error. What it returns was logged once.
	Healthy() error
	// Close closes what the roles share; close the roles first.
	Close()
}
