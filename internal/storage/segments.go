package storage

// Segment is what rows have in common that expire together. The zero Segment is that of rows that never
// expire.
type Segment struct {
	Class  byte // of the rows; ranges that expire have one class each
	Number int64
}

// Segments says which rows expire together. An engine whose files end where segments do removes a
// segment with its files, without reading them.
type Segments struct {
	// Of returns the segment of a row. The rows of a segment that expires are neighbours.
	Of func(key []byte) Segment
	// InsertOnly means that rows are seldom replaced or deleted: to merge files saves no space.
	InsertOnly bool
}

// Segmenter is implemented by engines that make use of segments.
type Segmenter interface {
	// GroupSegments is called before the engine is used, each time that it is opened or passed on, with
	// the same segments.
	GroupSegments(s Segments)
}
