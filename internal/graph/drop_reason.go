package graph

// Reasons for which the library itself drops records. Users' reasons are those of failure.Drop. The
// texts are keys of Stats.Dropped: services raise alarms by them and tests compare them, so another
// text is a change of the API.
const (
	// Keys, values and times that are missing. A key is needed by tables, aggregations and joins; a
	// value by aggregations, joins, and functions that would have to invent one.
	NoKey          = "record without key"
	NoLookupKey    = "record without key to look up"
	NoValue        = "record without value"
	NoNewKey       = "record without value, for which a function of values was to make a key"
	NoRepartition  = "record without key not sent to a repartition topic"
	NoTime         = "record without valid timestamp"
	NoForeignKey   = "row without foreign key"
	NoPunctuateKey = "value forwarded by a punctuation without key"

	// Failures whose policy skips the record.
	DecodeSkipped  = "record does not decode"
	ProcessSkipped = "function failed"
	ProduceSkipped = "record could not be written"

	// Records that the program itself stops.
	DroppedByMiddleware = "record held back by middleware"
	NoBranch            = "record matched no branch"

	// Records that are too late. Late counts once for each window of hopping and sliding ones; Expired
	// is for window, session and versioned stores.
	Late           = "record too late: its window is closed"
	Expired        = "older than what its store keeps"
	TooLateToStore = "record joined, but too late to be kept for later partners"

	// Updates that something newer has overtaken. A StaleResponse, of a foreign-key join, is for a row
	// that has changed since; the response to the new row is still to come. Stale updates come from a
	// table that keeps versions, and joins want its latest version only; StaleRow is the same for groups.
	StaleResponse = "answer to a row that has changed since"
	Stale         = "update older than the row's latest version"
	StaleRow      = "update older than the row's latest version, left out of groups"
)
