package storage

// Handle is what opening a store by its name returns: its rows as bytes, and what belongs to the
// record being processed. The references of package store read and write it.
type Handle struct {
	// Exactly one of the four is set, according to the kind of store.
	Bytes    Bytes
	Windows  WindowBytes
	Sessions SessionBytes
	Versions VersionedBytes

	// Time returns the time of the record being processed. Rows of plain key-value stores are written
	// with it.
	Time func() int64
	// Headers returns the headers of the record being processed, for rows that keep headers and are
	// put without any. Nil outside of tasks.
	Headers func() Headers
	// OnExpired is called for each row that was put and not written, because it had expired. May be
	// nil.
	OnExpired func()
	// Plain means that the store keeps no times of its own.
	Plain bool
}

// Segmented returns the rows of a window, session or versioned store.
func (h Handle) Segmented() any {
	switch {
	case h.Windows != nil:
		return h.Windows
	case h.Sessions != nil:
		return h.Sessions
	}
	return h.Versions
}
