package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/table"
)

// ForeignKey returns a table of the rows of left joined with the rows of right that they refer to.
// key returns which row that is; with ok false a row refers to none, has no result, and is counted.
// Results have the keys of left. A change in left joins its row again, and a change in right joins
// all rows that refer to it again: f is called with the present rows of both sides. If left
// changed, the time of a result is the greater of both rows' times; if right changed, it is the
// time of the change. Its headers are those of the record that changed.
//
//	withCustomer := join.ForeignKey(orders, customers, "order-customers",
//		func(_ string, o Order) (string, bool) { return o.Customer, o.Customer != "" },
//		func(o Order, c Customer) Shipment { return Shipment{o, c} })
//
// The sides need not be partitioned alike: they communicate through two topics,
// <application>-<name>-subscription-registration-topic and
// <application>-<name>-subscription-response-topic, and the right side keeps the references in the
// store <name>-subscription-store. Therefore a result comes a little later than the change, and
// changes of different rows of left may be reordered. A response to a row that has changed in the
// meantime is dropped and counted. A tombstone is sent when a row is deleted, or begins to refer to
// another row, which does not exist, even if there was no result before. As in Kafka Streams, an
// earlier result stays where a row of left is inserted again before the response to its deletion
// has come, or changes before the response to the deletion of its row of right has, and the row
// that it refers to does not exist.
//
// Rows of left are recognized by a hash of their bytes, so the serde of left's values must write
// equal values alike. A row of right whose value has no bytes at all, such as an empty text, counts
// as absent, because the topics, which are those of Kafka Streams, cannot express it. Both tables
// keep their rows in stores. The result has a store, <name>-result, if a step that follows needs
// it; see also table.Materialize.
//
// Options, for the stores of the join: InMemory, NoChangelog, TopicConfig. key and f must depend on
// their arguments alone.
func ForeignKey[K, L, FK, R, O any](
	left table.KTable[K, L], right table.KTable[FK, R], name string, key func(K, L) (fk FK, ok bool),
	f func(left L, right R) O, opts ...store.Option,
) table.KTable[K, O] {
	join := func(left L, right R, _ bool) O { return f(left, right) }
	return foreignKeyNode(left, right, foreignKeyJoin[K, L, FK, R, O]{op: "join.ForeignKey", name: name, key: key,
		join: join, userFunc: f}, opts)
}
