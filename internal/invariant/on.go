//go:build invariants

package invariant

// Enabled reports whether expensive checks run: this build has the tag "invariants".
const Enabled = true
