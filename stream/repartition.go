package stream

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/plan"
)

// Repartition writes s to a topic of the library's, <application>-<name>-repartition, and reads it back: each record lies in its
// key's partition then. It is seldom needed, since steps that need records so see to it themselves. Records without a key are
// dropped and counted. The topic is written with the serdes of the handle that is returned.
//
//	wide := stream.Repartition(orders, "orders-by-id", stream.Partitions(64))
func Repartition[K, V any](s KStream[K, V], name string, opts ...RepartitionOption) KStream[K, V] {
	return repartition(s, "stream.Repartition", name, nil, opts)
}

// RepartitionOption configures Repartition and RepartitionBy.
type RepartitionOption func(*repartitioning)

type repartitioning struct {
	partitions int
	err        error
}

// Partitions says how many partitions the topic has, at least 1. Without it there are as many as the largest topic has that is read
// on the way to it.
func Partitions(n int) RepartitionOption {
	return func(r *repartitioning) {
		if n < 1 {
			r.err = errors.Join(r.err, fmt.Errorf("stream.Partitions: %d, a topic has at least 1 partition", n))
		}
		r.partitions = n
	}
}

func repartition[K, V any](s KStream[K, V], op, name string, choose func(Record[K, V], int) int, opts []RepartitionOption) KStream[K, V] {
	in := handle(s).Out()
	n := plan.New[K, V](nil, op, "repartition", in)
	if n == nil {
		return KStream[K, V]{}
	}
	n.GiveName(name)
	n.CanFail, n.KeyChanged = true, false
	var r repartitioning
	for _, o := range opts {
		if o == nil {
			r.err = errors.Join(r.err, errors.New("an option is nil"))
			continue
		}
		o(&r)
	}
	n.Mistake(r.err)
	n.Emit = func(c *plan.Compile) error {
		return plan.Through(c, 0, in, plan.Repartition[K, V]{Name: name, Partitions: r.partitions, Choose: choose})
	}
	return result[K, V](n.KeepKey(0).KeepValue(0))
}
