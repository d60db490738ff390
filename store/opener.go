package store

import "github.com/millstream-go/millstream/internal/storage"

// Opener opens the stores of a task, of an App or of a test driver. It is implemented by
// topology.Task, millstream.App and testdriver.Driver; nothing else can usefully implement it. It
// is passed to the In method of a reference.
type Opener interface {
	// OpenStore opens a store by name. Its error lists the stores that there are. A Handle is for the
	// references of this package.
	OpenStore(name string) (storage.Handle, error)
}
