package bolt

// Exclusive returns o as it works where a file cannot be mapped with room to grow.
func (o Options) Exclusive() Options { o.exclusive = true; return o }

// SmallMap returns o with maps that start at n bytes, a power of two.
func (o Options) SmallMap(n int64) Options { o.leastMap = n; return o }

// Mapped returns the size of the engine's map.
func (e *Engine) Mapped() int { return e.file.mapped }

// Tables returns how many memtables the engine has.
func (e *Engine) Tables() int { return len(e.tables) }

var (
	AppendCheckpoint = appendCheckpoint
	DecodeCheckpoint = decodeCheckpoint
	DecodeRow        = decodeRow
	VerifyPages      = verifyPages
	MarkerOf         = markerOf
	ErrCorrupt       = errCorrupt
)
