package topics

import (
	"errors"
	"fmt"
)

// ErrInvalid is what all errors of a Planner are that no retry cures: topics that are missing, that do not fit each other, or that
// are not as the topology needs them. The text does not mention it.
var ErrInvalid = errors.New("topics do not fit the topology")

type invalid struct{ error }

func (invalid) Is(target error) bool { return target == ErrInvalid }

func invalidf(format string, args ...any) error { return invalid{fmt.Errorf(format, args...)} }
