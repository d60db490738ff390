package storage

// Header is one header of a record. The struct has no name of its own, so that the type is that of
// package store too, which imports this one: rows pass their headers on without copying them.
type Header = struct {
	Name  string
	Value []byte // nil: null
}

// Headers are the headers of a row. They are never changed in place, so rows may share them. A
// store.Headers, which has methods for users, is one.
type Headers = []Header

// HeaderStore is implemented by the Bytes, WindowBytes, SessionBytes and VersionedBytes of a store
// that keeps headers with its rows.
type HeaderStore interface {
	// SetHeaders sets the headers of the rows that are put from now on. It copies them.
	SetHeaders(Headers)
	// LastHeaders returns the headers of the row that was read last by anything but a scan. It returns
	// a copy.
	LastHeaders() (Headers, error)
}

// HeaderSetter returns the SetHeaders method of rows; nil when the store keeps no headers.
func HeaderSetter(rows any) func(Headers) {
	if s, ok := rows.(HeaderStore); ok {
		return s.SetHeaders
	}
	return nil
}
