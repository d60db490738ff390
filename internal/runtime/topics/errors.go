package topics

import (
	"errors"
	"fmt"
)

// ErrInvalid matches all errors of a Deployer that no retry cures: topics that are missing, that do
// not fit each other, or that are not as the topology needs them. The text does not mention it.
var ErrInvalid = errors.New("topics do not match the topology")

type invalid struct{ error }

func (invalid) Is(target error) bool { return target == ErrInvalid }

func invalidf(format string, args ...any) error { return invalid{fmt.Errorf(format, args...)} }

// ErrPartitions matches those of them that are about partition counts: a topic has got partitions
// that the topology cannot read until another topic has as many. The partitions that were there
// before still fit, so a running App goes on with these.
var ErrPartitions = errors.New("the partition counts of topics do not agree")

type countMismatchError struct{ error }

func (countMismatchError) Is(target error) bool {
	return target == ErrInvalid || target == ErrPartitions
}

func mismatchf(format string, args ...any) error {
	return countMismatchError{fmt.Errorf(format, args...)}
}
