// Package invariant is for checks of rules that this module sets itself. A broken one is a panic
// that names the rule. A user's mistake is an error, and never a broken invariant.
//
// Cheap checks always run. Expensive ones are behind Enabled, which is a constant, so that the
// compiler removes them from ordinary builds. The build tag "invariants" enables them.
package invariant

import "fmt"

// Fail panics with a formatted message. It marks a bug in this module.
func Fail(format string, args ...any) {
	panic("millstream: broken invariant: " + fmt.Sprintf(format, args...))
}
