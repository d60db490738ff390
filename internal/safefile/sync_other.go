//go:build !unix

package safefile

// SyncDir does nothing where directories cannot be synced.
func SyncDir(string) error { return nil }
