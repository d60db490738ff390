//go:build !invariants

package invariant

// Enabled reports whether expensive checks run: this build does not have the tag "invariants".
const Enabled = false
