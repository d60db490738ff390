package statedir

import (
	"strings"

	"github.com/millstream-go/millstream/internal/graph"
)

// DirName returns the name that a store has in the state directory. It names the layout of the
// rows, too: a store whose layout has changed is restored, where its old files would be misread. No
// store's name has a plus.
func DirName(st *graph.Store) string {
	name := st.Name
	switch st.Kind {
	case graph.Window:
		name += "+windows"
	case graph.Session:
		name += "+sessions"
	case graph.Versioned:
		name += "+versions"
	}
	if st.KeepHeaders {
		name += "+headers"
	}
	return name
}

// StoreName returns the name of the store that a directory of that name is of.
func StoreName(dir string) string {
	name, _, _ := strings.Cut(dir, "+")
	return name
}
