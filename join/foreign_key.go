package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/table"
)

// ForeignKey returns the table of the rows of l joined with the rows of r that they refer to: key says which; with ok false a row refers
// to none, has no result, and is counted. Results have the keys of l. A change in l joins its row again, one in r all rows that refer to
// it: f is called with what both sides are then. A result's time is the greater of both rows' when l changed, and that of the
// change when r did; its headers are those of the record that changed.
//
//	withCustomer := join.ForeignKey(orders, customers, "order-customers",
//		func(_ string, o Order) (string, bool) { return o.Customer, o.Customer != "" },
//		func(o Order, c Customer) Shipment { return Shipment{o, c} })
//
// The sides need not be partitioned alike, since they talk through two topics, <application>-<name>-subscription-registration-topic and
// <application>-<name>-subscription-response-topic; the right side remembers who refers to what in the store <name>-subscription-store.
// So a result comes a little later than the change, and changes of different rows of l may change places. An answer to a row that
// has changed meanwhile is dropped and counted. The deletion of a row, or its referring to another one that is not there, is sent on even
// where there was no result.
//
// Rows of l are recognized by a hash of their bytes, so the serde of l's values must write equal values alike. A row of r whose value has
// no bytes at all, such as an empty text, counts as absent: the topics, which are those of Kafka Streams, have no form for it. Both tables
// keep their rows in stores; the result does where a step that follows needs it (<name>-result), or see table.Materialize.
//
// Options, for the stores of the join: InMemory, NoChangelog, TopicConfig. key and f must depend on nothing but their arguments.
func ForeignKey[K, L, FK, R, O any](l table.KTable[K, L], r table.KTable[FK, R], name string, key func(K, L) (fk FK, ok bool), f func(l L, r R) O, opts ...store.Option) table.KTable[K, O] {
	join := func(l L, r R, _ bool) O { return f(l, r) }
	return foreign(l, r, foreignKey[K, L, FK, R, O]{op: "join.ForeignKey", name: name, key: key, join: join, given: f}, opts)
}
