package window

import "github.com/millstream-go/millstream/internal/spec"

// Windowed is any window of this package, that of joins included.
type Windowed interface{ windows() spec.Windows }

// WindowsOf returns what a window is.
func WindowsOf(w Windowed) spec.Windows { return w.windows() }
