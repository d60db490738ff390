package graph

// Reasons for which the library itself drops records. Users' reasons are what they gave to failure.Drop.
const (
	NoKey          = "record without key" // where a key is needed: tables, aggregations, joins
	NoLookupKey    = "record without key to look up"
	NoValue        = "record without value" // where a value is needed: aggregations, joins, functions that would have to invent one
	NoNewKey       = "record without value, for which a function of values was to make a key"
	NoRepartition  = "record without key not sent to a repartition topic"
	NoTime         = "record without valid timestamp"
	DecodeSkipped  = "record does not decode"
	ProcessSkipped = "function failed"
	ProduceSkipped = "record could not be written"
	HeldBack       = "record held back by middleware"
	NoBranch       = "record matched no branch"
	NoForeignKey   = "row without foreign key"
	StaleAnswer    = "answer to a row that has changed since" // of foreign-key joins: the row's own answer is still to come
	StaleRow       = "update older than the row's latest version, left out of groups"
	Stale          = "update older than the row's latest version" // of a table that keeps versions, where only the latest counts: joins
	Expired        = "older than what its store keeps"            // window, session and versioned stores
	Late           = "record too late: its window is closed"      // once for each window of hopping and sliding ones
	NotKept        = "record joined, but too late to be kept for later partners"
	NoPunctuateKey = "value forwarded by a punctuation without key"
)
