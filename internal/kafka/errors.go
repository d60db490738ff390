package kafka

import "errors"

// Errors that callers tell apart, with the broker's code. Implementations wrap them with what was asked and of whom.
var (
	// ErrUnavailable says that no broker that could answer was reached. Worth a retry.
	ErrUnavailable = errors.New("kafka: broker not available")
	// ErrCredentials says that no broker has accepted the client's TLS and SASL settings yet. Never cured by a retry.
	ErrCredentials = errors.New("kafka: TLS or SASL settings not accepted")
	// ErrTooLarge (10, 18) is returned by Producer.Send for a record over its topic's limit.
	ErrTooLarge = errors.New("kafka: record too large")
	// ErrUnknownTopic (3, 100) says that a topic or partition does not exist.
	ErrUnknownTopic = errors.New("kafka: unknown topic or partition")
	// ErrTopicExists (36) is returned by CreateTopic.
	ErrTopicExists = errors.New("kafka: topic exists")
	// ErrNotAuthorized (29, 30, 31) is never cured by a retry.
	ErrNotAuthorized = errors.New("kafka: not authorized")
	// ErrIllegalGeneration (22) says that the group has gone on to another generation.
	ErrIllegalGeneration = errors.New("kafka: illegal generation")
	// ErrUnknownMember (25) says that the coordinator has dropped the member.
	ErrUnknownMember = errors.New("kafka: unknown member")
	// ErrRebalanceInProgress (27) says that the group is joining a new generation.
	ErrRebalanceInProgress = errors.New("kafka: rebalance in progress")
	// ErrFencedInstance (82) says that another process uses the same static member id.
	ErrFencedInstance = errors.New("kafka: fenced instance id")
	// ErrMemberIDRequired (79) carries no data: Join repeats itself with the id it was given.
	ErrMemberIDRequired = errors.New("kafka: member id required")
	// ErrInconsistentProtocol (23) says that other members of the group speak another protocol.
	ErrInconsistentProtocol = errors.New("kafka: the members of the group speak other protocols")
	// ErrInvalidGroup (24, 26) says that the broker takes no such group id or session timeout.
	ErrInvalidGroup = errors.New("kafka: invalid group id or session timeout")
	// ErrFenced (47, 90) says that a producer with the same transactional id has taken over.
	ErrFenced = errors.New("kafka: producer fenced")
	// ErrUncertain ends a producer: records may or may not have been written, and no further attempt can tell.
	ErrUncertain = errors.New("kafka: records may or may not have been written")
	// ErrClosed is returned by calls on what was closed.
	ErrClosed = errors.New("kafka: client closed")
)
