package topology

import "strings"

// Error is one mistake in a program, found by Build.
type Error struct {
	Op   string // the operator: "stream.Filter"
	Name string // the step's name, if it has one
	Pos  string // the call, as file:line, and its caller
	Err  error
}

// Error returns the mistake in one line, with its place and the call in front.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Pos != "" {
		b.WriteString(e.Pos + ": ")
	}
	b.WriteString(e.Op)
	if e.Name != "" {
		b.WriteString(" " + `"` + e.Name + `"`)
	}
	return b.String() + ": " + e.Err.Error()
}

// Unwrap returns the mistake without its place.
func (e *Error) Unwrap() error { return e.Err }

// Errors is what Build returns: every mistake, in the order of the calls.
type Errors []*Error

// Error returns all mistakes, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes, for errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, err := range e {
		out[i] = err
	}
	return out
}
