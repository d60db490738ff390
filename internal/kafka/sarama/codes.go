package sarama

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// codes maps broker codes to the errors that callers tell apart.
var codes = map[sarama.KError]error{
	sarama.ErrUnknownTopicOrPartition:            kafka.ErrUnknownTopic,
	codeUnknownTopicID:                           kafka.ErrUnknownTopic,
	sarama.ErrTopicAlreadyExists:                 kafka.ErrTopicExists,
	sarama.ErrTopicAuthorizationFailed:           kafka.ErrNotAuthorized,
	sarama.ErrGroupAuthorizationFailed:           kafka.ErrNotAuthorized,
	sarama.ErrClusterAuthorizationFailed:         kafka.ErrNotAuthorized,
	sarama.ErrTransactionalIDAuthorizationFailed: kafka.ErrNotAuthorized,
	sarama.ErrSASLAuthenticationFailed:           kafka.ErrNotAuthorized,
	sarama.ErrUnsupportedSASLMechanism:           kafka.ErrNotAuthorized,
	sarama.ErrMessageSizeTooLarge:                kafka.ErrTooLarge,
	sarama.ErrMessageSetSizeTooLarge:             kafka.ErrTooLarge,
	sarama.ErrIllegalGeneration:                  kafka.ErrIllegalGeneration,
	sarama.ErrGroupIDNotFound:                    kafka.ErrUnknownMember, // a group without members may be gone, and the member with it
	sarama.ErrUnknownMemberId:                    kafka.ErrUnknownMember,
	sarama.ErrRebalanceInProgress:                kafka.ErrRebalanceInProgress,
	sarama.ErrFencedInstancedId:                  kafka.ErrFencedInstance,
	sarama.ErrMemberIdRequired:                   kafka.ErrMemberIDRequired,
	sarama.ErrInconsistentGroupProtocol:          kafka.ErrInconsistentProtocol,
	sarama.ErrInvalidGroupId:                     kafka.ErrInvalidGroup,
	sarama.ErrInvalidSessionTimeout:              kafka.ErrInvalidGroup,
	sarama.ErrInvalidProducerEpoch:               kafka.ErrFenced,
	sarama.ErrProducerFenced:                     kafka.ErrFenced,
	sarama.ErrLeaderNotAvailable:                 kafka.ErrUnavailable,
	sarama.ErrNotLeaderForPartition:              kafka.ErrUnavailable,
	sarama.ErrRequestTimedOut:                    kafka.ErrUnavailable,
	sarama.ErrBrokerNotAvailable:                 kafka.ErrUnavailable,
	sarama.ErrReplicaNotAvailable:                kafka.ErrUnavailable,
	sarama.ErrNetworkException:                   kafka.ErrUnavailable,
	sarama.ErrOffsetsLoadInProgress:              kafka.ErrUnavailable,
	sarama.ErrConsumerCoordinatorNotAvailable:    kafka.ErrUnavailable,
	sarama.ErrNotCoordinatorForConsumer:          kafka.ErrUnavailable,
	sarama.ErrNotEnoughReplicas:                  kafka.ErrUnavailable,
	sarama.ErrNotEnoughReplicasAfterAppend:       kafka.ErrUnavailable,
	sarama.ErrNotController:                      kafka.ErrUnavailable,
	sarama.ErrKafkaStorageError:                  kafka.ErrUnavailable,
	sarama.ErrFencedLeaderEpoch:                  kafka.ErrUnavailable,
	sarama.ErrUnknownLeaderEpoch:                 kafka.ErrUnavailable,
	sarama.ErrOffsetNotAvailable:                 kafka.ErrUnavailable,
	sarama.ErrThrottlingQuotaExceeded:            kafka.ErrUnavailable,
	sarama.ErrUnstableOffsetCommit:               kafka.ErrUnavailable,
}

// Codes that Sarama has no name for.
const (
	codeUnknownTopicID      sarama.KError = 100
	codeInconsistentTopicID sarama.KError = 103
)

// brokerError is a code that a broker answered with.
type brokerError struct {
	code sarama.KError
	is   error // one of package kafka's, or nil
}

func (e *brokerError) Error() string {
	text := e.code.Error()
	if e.code == sarama.ErrProducerFenced || e.code == codeUnknownTopicID { // Sarama has no text for them
		text = e.is.Error()
	}
	return fmt.Sprintf("%s (code %d)", text, int16(e.code))
}

func (e *brokerError) Is(target error) bool { return e.is != nil && target == e.is }

// Unwrap gives the code itself, so that errors.Is finds a sarama.KError.
func (e *brokerError) Unwrap() error { return e.code }

// failure returns nil for no error, and an error that wraps package kafka's for any other code.
func failure(code sarama.KError) error {
	if code == sarama.ErrNoError {
		return nil
	}
	return &brokerError{code: code, is: codes[code]}
}

// code returns the broker's code in err, or none.
func code(err error) (sarama.KError, bool) {
	var k sarama.KError
	ok := errors.As(err, &k)
	return k, ok
}

func isUnknownTopic(err error) bool { return errors.Is(err, kafka.ErrUnknownTopic) }

func isNotAuthorized(err error) bool { return errors.Is(err, kafka.ErrNotAuthorized) }

// transient says that the same request may succeed later, perhaps at another broker.
func transient(err error) bool { return errors.Is(err, kafka.ErrUnavailable) }

// unavailable is an error of transport: no answer was got.
type unavailable struct {
	addr string
	err  error
}

func (e *unavailable) Error() string        { return fmt.Sprintf("kafka: broker %s: %v", e.addr, e.err) }
func (e *unavailable) Unwrap() error        { return e.err }
func (e *unavailable) Is(target error) bool { return target == kafka.ErrUnavailable }

// moved says that the answering broker was not the one to ask: metadata is old.
func moved(c sarama.KError) bool {
	switch c {
	case sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable, sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch,
		sarama.ErrReplicaNotAvailable, sarama.ErrKafkaStorageError, sarama.ErrBrokerNotAvailable, sarama.ErrUnknownTopicOrPartition,
		sarama.ErrOffsetNotAvailable, codeUnknownTopicID, codeInconsistentTopicID:
		return true
	}
	return false
}
