package sarama

import (
	"errors"
	"fmt"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// errorsByCode maps broker codes to the errors that callers tell apart.
var errorsByCode = map[ibm.KError]error{
	ibm.ErrUnknownTopicOrPartition:            kafka.ErrUnknownTopic,
	codeUnknownTopicID:                        kafka.ErrUnknownTopic,
	ibm.ErrTopicAlreadyExists:                 kafka.ErrTopicExists,
	ibm.ErrTopicAuthorizationFailed:           kafka.ErrNotAuthorized,
	ibm.ErrGroupAuthorizationFailed:           kafka.ErrNotAuthorized,
	ibm.ErrClusterAuthorizationFailed:         kafka.ErrNotAuthorized,
	ibm.ErrTransactionalIDAuthorizationFailed: kafka.ErrNotAuthorized,
	ibm.ErrSASLAuthenticationFailed:           kafka.ErrNotAuthorized,
	ibm.ErrUnsupportedSASLMechanism:           kafka.ErrNotAuthorized,
	ibm.ErrInvalidConfig:                      kafka.ErrInvalidConfig,
	ibm.ErrInvalidTransactionTimeout:          kafka.ErrTransactionTimeout,
	ibm.ErrPolicyViolation:                    kafka.ErrPolicyViolation,
	ibm.ErrMessageSizeTooLarge:                kafka.ErrTooLarge,
	ibm.ErrInvalidTimestamp:                   kafka.ErrTimestamp,
	ibm.ErrMessageSetSizeTooLarge:             kafka.ErrTooLarge,
	ibm.ErrIllegalGeneration:                  kafka.ErrIllegalGeneration,
	ibm.ErrGroupIDNotFound:                    kafka.ErrUnknownMember, // it may be removed once it has no members
	ibm.ErrUnknownMemberId:                    kafka.ErrUnknownMember,
	ibm.ErrRebalanceInProgress:                kafka.ErrRebalanceInProgress,
	ibm.ErrFencedInstancedId:                  kafka.ErrFencedInstance,
	ibm.ErrMemberIdRequired:                   kafka.ErrMemberIDRequired,
	ibm.ErrInconsistentGroupProtocol:          kafka.ErrInconsistentProtocol,
	ibm.ErrInvalidGroupId:                     kafka.ErrInvalidGroup,
	ibm.ErrInvalidSessionTimeout:              kafka.ErrSessionTimeout,
	ibm.ErrInvalidProducerEpoch:               kafka.ErrFenced,
	ibm.ErrProducerFenced:                     kafka.ErrFenced,
	ibm.ErrInvalidProducerIDMapping:           kafka.ErrFenced,
	ibm.ErrInvalidTxnState:                    kafka.ErrAborted,
	codeTransactionAbortable:                  kafka.ErrAborted,
	ibm.ErrConcurrentTransactions:             kafka.ErrUnavailable,
	ibm.ErrLeaderNotAvailable:                 kafka.ErrUnavailable,
	ibm.ErrNotLeaderForPartition:              kafka.ErrUnavailable,
	ibm.ErrRequestTimedOut:                    kafka.ErrUnavailable,
	ibm.ErrBrokerNotAvailable:                 kafka.ErrUnavailable,
	ibm.ErrReplicaNotAvailable:                kafka.ErrUnavailable,
	ibm.ErrNetworkException:                   kafka.ErrUnavailable,
	ibm.ErrOffsetsLoadInProgress:              kafka.ErrUnavailable,
	ibm.ErrConsumerCoordinatorNotAvailable:    kafka.ErrUnavailable,
	ibm.ErrNotCoordinatorForConsumer:          kafka.ErrUnavailable,
	ibm.ErrNotEnoughReplicas:                  kafka.ErrUnavailable,
	ibm.ErrNotEnoughReplicasAfterAppend:       kafka.ErrUnavailable,
	ibm.ErrNotController:                      kafka.ErrUnavailable,
	ibm.ErrKafkaStorageError:                  kafka.ErrUnavailable,
	ibm.ErrFencedLeaderEpoch:                  kafka.ErrUnavailable,
	ibm.ErrUnknownLeaderEpoch:                 kafka.ErrUnavailable,
	ibm.ErrOffsetNotAvailable:                 kafka.ErrUnavailable,
	ibm.ErrThrottlingQuotaExceeded:            kafka.ErrUnavailable,
	ibm.ErrUnstableOffsetCommit:               kafka.ErrUnavailable,
}

// Codes that Sarama has no name for.
const (
	codeUnknownTopicID      ibm.KError = 100
	codeInconsistentTopicID ibm.KError = 103
	// codeTransactionalIDNotFound is of ids that were not used for a week (transactional.id.expiration.ms).
	codeTransactionalIDNotFound ibm.KError = 105
	// codeTransactionAbortable is of brokers since 3.8: the transaction can be aborted, and nothing else.
	codeTransactionAbortable ibm.KError = 120
)

// brokerError is a code that a broker answered with.
type brokerError struct {
	code ibm.KError
	kind error // package kafka's error; nil: it has none
}

func (e *brokerError) Error() string {
	text := e.code.Error()
	switch e.code {
	case ibm.ErrProducerFenced, codeUnknownTopicID, codeTransactionAbortable: // Sarama has no text for them
		text = e.kind.Error()
	}
	return fmt.Sprintf("%s (code %d)", text, int16(e.code))
}

func (e *brokerError) Is(target error) bool { return e.kind != nil && target == e.kind }

// Unwrap returns the code itself, so that errors.Is finds an ibm.KError.
func (e *brokerError) Unwrap() error { return e.code }

// codeError returns nil for no error, and an error that wraps package kafka's for any other code.
func codeError(code ibm.KError) error {
	if code == ibm.ErrNoError {
		return nil
	}
	return &brokerError{code: code, kind: errorsByCode[code]}
}

// codeOf returns the broker's code in err, or none.
func codeOf(err error) (ibm.KError, bool) {
	if err == nil { // as nearly always: errors.As would allocate
		return 0, false
	}
	var k ibm.KError
	ok := errors.As(err, &k)
	return k, ok
}

func isUnknownTopic(err error) bool { return errors.Is(err, kafka.ErrUnknownTopic) }

func isNotAuthorized(err error) bool { return errors.Is(err, kafka.ErrNotAuthorized) }

// isTransient reports whether the same request may succeed later, perhaps at another broker.
func isTransient(err error) bool { return errors.Is(err, kafka.ErrUnavailable) }

// unavailableError is an error of transport: there was no response.
type unavailableError struct {
	addr string
	err  error
}

func (e *unavailableError) Error() string { return fmt.Sprintf("kafka: broker %s: %v", e.addr, e.err) }
func (e *unavailableError) Unwrap() error { return e.err }
func (e *unavailableError) Is(target error) bool {
	return target == kafka.ErrUnavailable || target == kafka.ErrNoAnswer
}

// isStaleMetadata reports whether a code says that the request went to the wrong broker: metadata
// is out of date.
func isStaleMetadata(c ibm.KError) bool {
	switch c {
	case ibm.ErrNotLeaderForPartition, ibm.ErrLeaderNotAvailable, ibm.ErrFencedLeaderEpoch, ibm.ErrUnknownLeaderEpoch,
		ibm.ErrReplicaNotAvailable, ibm.ErrKafkaStorageError, ibm.ErrBrokerNotAvailable, ibm.ErrUnknownTopicOrPartition,
		ibm.ErrOffsetNotAvailable, codeUnknownTopicID, codeInconsistentTopicID:
		return true
	}
	return false
}
