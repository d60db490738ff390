package changelog

import (
	"fmt"
	"math"
	"strconv"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// envelope is what a batch and a record add to key and value, at most.
const envelope = 61 + 40

// Limit returns an engine that refuses rows which its changelog would refuse. At the put the record that leads to the row is at
// hand, and its policy can decide; at the commit nothing could be done any more. config is that of the changelog's topic.
func Limit(e store.Engine, config map[string]string) store.Engine {
	n, err := strconv.Atoi(config["max.message.bytes"])
	if err != nil || n <= envelope {
		return e
	}
	return &limited{e, min(n, math.MaxInt32) - envelope}
}

type limited struct {
	store.Engine
	most int
}

// Put implements store.Bytes.
func (l *limited) Put(key, value []byte, time int64) error {
	if n := len(key) + len(value); n > l.most {
		return fmt.Errorf("%w: a row of %d bytes does not fit the changelog, which takes %d", kafka.ErrTooLarge, n, l.most)
	}
	return l.Engine.Put(key, value, time)
}

// Visit implements store.Visitor, also where the engine does not.
func (l *limited) Visit(r store.Range, f func(store.Entry, error) bool) {
	if e, ok := l.Engine.(store.Visitor); ok {
		e.Visit(r, f)
		return
	}
	l.Engine.Scan(r)(f)
}
