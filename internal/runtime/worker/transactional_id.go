package worker

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// transactionalID returns the name under which the worker writes transactions. It stays the same over restarts, so that
// each run aborts what the one before has left open.
func (w *Worker) transactionalID() string {
	id := fmt.Sprintf("%s-%x-%d", w.cfg.Group, w.cfg.Process, w.cfg.ID)
	if w.anotherID != "" {
		id += "-" + w.anotherID
	}
	return id
}

// TransactionalID is what the transactional id of a worker says, or of a thread of Kafka Streams.
type TransactionalID struct {
	Process [16]byte
	Worker  int
	// Another is set where the worker has changed its id, since another process had it.
	Another bool
	// KafkaStreams is set where a Java program has run the application, with exactly_once_v2. Its processes have ids of
	// their own.
	KafkaStreams bool
}

// ParseTransactionalID returns what id says; ok is false when it is not one that a worker of the application has.
// Applications may have names that begin with another one's: all of the rest has to be of the form.
func ParseTransactionalID(application, id string) (out TransactionalID, ok bool) {
	rest, ok := strings.CutPrefix(id, application+"-")
	if !ok {
		return out, false
	}
	if out, ok := parseKafkaStreams(rest); ok {
		return out, true
	}
	process, rest, ok := strings.Cut(rest, "-")
	if !ok || len(process) != 2*len(out.Process) || process != strings.ToLower(process) {
		return out, false
	}
	if _, err := hex.Decode(out.Process[:], []byte(process)); err != nil {
		return out, false
	}
	number, another, hasAnother := strings.Cut(rest, "-")
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != number || hasAnother && !isRandText(another) {
		return out, false
	}
	out.Worker, out.Another = int(n), hasAnother
	return out, true
}

// parseKafkaStreams parses what follows the application in a transactional id of Kafka Streams: a UUID as Java writes
// it, and the number of a thread.
func parseKafkaStreams(rest string) (out TransactionalID, ok bool) {
	const uuid = 36
	if len(rest) <= uuid || rest[uuid] != '-' || rest[:uuid] != strings.ToLower(rest[:uuid]) {
		return out, false
	}
	for _, at := range []int{8, 13, 18, 23} {
		if rest[at] != '-' {
			return out, false
		}
	}
	number := rest[uuid+1:]
	process, err := hex.DecodeString(strings.ReplaceAll(rest[:uuid], "-", ""))
	if err != nil || len(process) != len(out.Process) {
		return out, false
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || strconv.FormatUint(n, 10) != number {
		return out, false
	}
	return TransactionalID{Process: [16]byte(process), Worker: int(n), KafkaStreams: true}, true
}

// isRandText reports whether s looks like one of crypto/rand.Text.
func isRandText(s string) bool {
	const shortest = 26 // "at least 128 bits", as that promises, five of them a character
	for _, c := range s {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(s) >= shortest
}
