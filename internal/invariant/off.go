//go:build !invariants

package invariant

// Enabled is whether dear checks run: false, since the build lacks the tag "invariants".
const Enabled = false
