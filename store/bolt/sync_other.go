//go:build !unix

package bolt

// syncDir does nothing where directories cannot be synced.
func syncDir(string) error { return nil }
