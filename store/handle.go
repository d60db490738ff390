package store

// Handle is what an Opener gives for a name: the bytes of a store as the typed references of this package read and write them.
type Handle struct {
	// Bytes are the rows of a key-value store, nil for other kinds.
	Bytes Bytes
	// Windows, Sessions and Versions are the rows of a window store, a session store and a versioned store: one of the four is there.
	Windows  WindowBytes
	Sessions SessionBytes
	Versions VersionedBytes
	// Time is the time that rows of plain key-value stores are written with: that of the record being processed.
	Time func() int64
	// Headers are those of the record being processed, for rows that keep headers and are given none. Nil outside of tasks.
	Headers func() Headers
	// Expired is told of a row that was put and not kept. Nil: nobody is.
	Expired func()
	// Plain says that the store keeps no times of its own.
	Plain bool
}

// rows are the bytes of a store that is no key-value store.
func (h Handle) rows() any {
	switch {
	case h.Windows != nil:
		return h.Windows
	case h.Sessions != nil:
		return h.Sessions
	}
	return h.Versions
}

// Opener opens the stores of a task, of an App or of a test driver. It is implemented by topology.Task, millstream.App and
// testdriver.Driver; nothing else can usefully implement it.
type Opener interface {
	// OpenStore opens a store by name. An error says which stores there are.
	OpenStore(name string) (Handle, error)
}
