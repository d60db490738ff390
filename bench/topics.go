package main

// Topics that are loaded. All have four partitions.
const (
	recordsTopic = "records" // what pass and count read
	rowsTopic    = "rows"
	clicksTopic  = "clicks" // what the join reads
	timedTopic   = "timed"  // what the windowed count reads
	leftsTopic   = "lefts"  // what the join of streams reads
	rightsTopic  = "rights"
	ordersTopic  = "orders" // what the foreign-key join reads
	shopsTopic   = "shops"
	sentTopic    = "sent-" // what latency is taken from, by round
	gotTopic     = "got-"
	partitions   = 4
)

// Topics that are written. Each program has its own: spec.out.
const (
	passedTopic  = "passed"
	countsTopic  = "counts"
	windowsTopic = "windows"
	pairsTopic   = "pairs"
	soldTopic    = "sold"
	joinedTopic  = "joined"
)

// Topics that bare loops write.
const (
	bareTopic       = "bare"
	bareLogTopic    = "bare-changelog"
	bareTellTopic   = "bare-subscriptions"
	bareKeepTopic   = "bare-subscriptions-changelog"
	bareAnswerTopic = "bare-answers"
)
