// Package invariant says what happens when this module breaks its own rules: a panic that names the rule. A user's mistake
// is an error, never a broken invariant.
//
// Cheap checks run always; dear ones stand behind Enabled, which is a constant, so that the compiler removes them from
// ordinary builds. Build with the tag "invariants" to have them.
package invariant

import "fmt"

// Fail panics with a formatted message. It marks a bug in this module.
func Fail(format string, args ...any) {
	panic("millstream: broken invariant: " + fmt.Sprintf(format, args...))
}
