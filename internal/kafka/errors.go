package kafka

import "errors"

// Errors that callers distinguish, with the broker's code. Implementations wrap them with the
// request and the broker.
var (
	// ErrUnavailable: no broker that could answer was reached. Worth a retry.
	ErrUnavailable = errors.New("kafka: broker not available")
	// ErrNoAnswer: a connection could not be opened, or broke before the response came. It is an
	// ErrUnavailable. A caller need not log it: the client logs when no broker answers, and
	// Client.Healthy returns it.
	ErrNoAnswer = errors.New("kafka: no answer")
	// ErrCredentials: no broker has accepted the client's TLS and SASL settings yet. A retry does not
	// help.
	ErrCredentials = errors.New("kafka: TLS or SASL settings not accepted")
	// ErrTooLarge (10, 18): a record exceeds its topic's limit. Producer.Send returns it.
	ErrTooLarge = errors.New("kafka: record too large (max.message.bytes)")
	// ErrTimestamp (32): a record has a time that its topic does not take. Producer.Send returns it.
	ErrTimestamp = errors.New("kafka: the topic does not accept the record's time " +
		"(message.timestamp.before.max.ms, message.timestamp.after.max.ms)")
	// ErrUnknownTopic (3, 100): a topic or partition does not exist.
	ErrUnknownTopic = errors.New("kafka: unknown topic or partition")
	// ErrTopicExists (36): CreateTopic returns it.
	ErrTopicExists = errors.New("kafka: topic exists")
	// ErrInvalidConfig (40): the broker does not know a setting of a topic, or does not accept its value.
	ErrInvalidConfig = errors.New("kafka: invalid topic configuration")
	// ErrTransactionTimeout (50): the brokers allow no transactions that long (transaction.max.timeout.ms).
	ErrTransactionTimeout = errors.New("kafka: transaction time-out too long")
	// ErrPolicyViolation (44): a policy of the cluster does not allow it. For DeleteRecords: the topic
	// is only compacted.
	ErrPolicyViolation = errors.New("kafka: not allowed by a policy")
	// ErrNotAuthorized (29, 30, 31): a retry does not help.
	ErrNotAuthorized = errors.New("kafka: not authorized")
	// ErrIllegalGeneration (22): the group is in another generation.
	ErrIllegalGeneration = errors.New("kafka: illegal generation")
	// ErrUnknownMember (25): the coordinator has removed the member.
	ErrUnknownMember = errors.New("kafka: unknown member")
	// ErrRebalanceInProgress (27): the members join another generation.
	ErrRebalanceInProgress = errors.New("kafka: rebalance in progress")
	// ErrFencedInstance (82): another process uses the same static member id.
	ErrFencedInstance = errors.New("kafka: fenced instance id")
	// ErrMemberIDRequired (79): a member has to join again with the id that it got. Join does that.
	ErrMemberIDRequired = errors.New("kafka: member id required")
	// ErrInconsistentProtocol (23): other members of the group speak another protocol.
	ErrInconsistentProtocol = errors.New("kafka: the members of the group speak other protocols")
	// ErrInvalidGroup (24): the broker does not accept the group id.
	ErrInvalidGroup = errors.New("kafka: invalid group id")
	// ErrSessionTimeout (26): the broker accepts other session timeouts (group.min.session.timeout.ms,
	// group.max.session.timeout.ms).
	ErrSessionTimeout = errors.New("kafka: session timeout outside of the broker's range")
	// ErrFenced (47, 49, 90): another producer with the same transactional id is in its place, or the coordinator has
	// aborted its transaction because of the time-out.
	ErrFenced = errors.New("kafka: producer fenced")
	// ErrAborted: the transaction of these records was aborted.
	ErrAborted = errors.New("kafka: transaction aborted")
	// ErrUncertain: records may or may not have been written, and no further attempt can tell. It ends
	// a producer.
	ErrUncertain = errors.New("kafka: records may or may not have been written")
	// ErrClosed: what was called is closed.
	ErrClosed = errors.New("kafka: client closed")
)
