//go:build invariants

package invariant

// Enabled is whether dear checks run: true, since the build has the tag "invariants".
const Enabled = true
