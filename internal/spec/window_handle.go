package spec

// The windows of package window are these types under other names. The packages of the DSL convert
// them to read what they are, and users do not see how. Their fields have different names, so that
// one kind of window cannot be converted into another outside this module.
type (
	TimeHandle     struct{ time Windows }
	SlideHandle    struct{ slide Windows }
	SessionHandle  struct{ session Windows }
	LandmarkHandle struct{ landmark Windows }
	JoinHandle     struct{ join Windows }
)

// Time returns the handle of s.
func (s Windows) Time() TimeHandle { return TimeHandle{s} }

// Windows returns what the window is.
func (h TimeHandle) Windows() Windows { return h.time }

// Slide returns the handle of s.
func (s Windows) Slide() SlideHandle { return SlideHandle{s} }

// Windows returns what the window is.
func (h SlideHandle) Windows() Windows { return h.slide }

// Session returns the handle of s.
func (s Windows) Session() SessionHandle { return SessionHandle{s} }

// Windows returns what the window is.
func (h SessionHandle) Windows() Windows { return h.session }

// Landmark returns the handle of s.
func (s Windows) Landmark() LandmarkHandle { return LandmarkHandle{s} }

// Windows returns what the window is.
func (h LandmarkHandle) Windows() Windows { return h.landmark }

// Join returns the handle of s.
func (s Windows) Join() JoinHandle { return JoinHandle{s} }

// Windows returns what the window is.
func (h JoinHandle) Windows() Windows { return h.join }
