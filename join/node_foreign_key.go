package join

import (
	"errors"
	"slices"

	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/table"
)

// foreignKeyJoin is a foreign-key join while the program is built: steps in the tasks of the left
// table and steps in those of the right one, which communicate through two internal topics.
//
//	left table --> registration-processor --> registration-topic --> receive --> join-foreign --+
//	right table ----------------------------------------> foreign-join-subscription ------------+
//	               result <-- response-resolver <-- response-topic <----------------------------+
type foreignKeyJoin[K, L, FK, R, O any] struct {
	op, name string
	keepLeft bool
	key      func(K, L) (FK, bool)
	join     func(l L, r R, ok bool) O
	userFunc any // what join calls

	leftOut, rightOut plan.Out
	settings          spec.StoreSettings
	serdes            foreignSerdes[K, L, FK, R]
}

type foreignSerdes[K, L, FK, R any] struct {
	key        serde.Serde[K]
	left       serde.Serde[L]
	foreignKey serde.Serde[FK]
	right      serde.Serde[R]
}

// foreignKeyNode makes the two nodes of a foreign-key join: one for the steps above, and one that
// takes their stream of results as a table.
func foreignKeyNode[K, L, FK, R, O any](
	left table.KTable[K, L], right table.KTable[FK, R], j foreignKeyJoin[K, L, FK, R, O], opts []store.Option,
) table.KTable[K, O] {
	j.leftOut, j.rightOut = plan.KTable[K, L](left).Handle().Out(), plan.KTable[FK, R](right).Handle().Out()
	node := plan.New[K, O](nil, j.op, "foreign-key", j.leftOut, j.rightOut).CheckFuncs(j.key, j.userFunc)
	if node == nil {
		return table.KTable[K, O]{}
	}
	node.FixName(j.name)
	var err error
	j.settings, err = spec.ReadStoreOptions(opts, spec.OptionInMemory, spec.OptionNoChangelog, spec.OptionTopicConfig)
	if err != nil {
		node.AddError(err)
		opts = nil
	}
	result := table.ToTable(result[K, O](node.InheritKeySerde(0)), j.name+"-result",
		append(slices.Clone(opts), store.OnDemand())...)
	handle := plan.KTable[K, O](result).Handle().Node()
	handle.Op = j.op
	node.Require = j.require
	node.AddToGraph = func(c *plan.Compiler) error {
		// Users set OnError on the returned table. It holds for the steps of the join, too.
		node.SharePolicy(handle)
		return j.addToGraph(c)
	}
	return result
}

// require asks for the rows of both sides, and for old values of left: a row that now refers to
// another row must be unsubscribed from the former one. Old values of right are required only
// because Kafka Streams requires them, which makes filters before the join send fewer changes.
func (j *foreignKeyJoin[K, L, FK, R, O]) require() {
	for _, side := range []plan.Out{j.leftOut, j.rightOut} {
		plan.TableOf(side).RequireRows()
		plan.TableOf(side).RequireOldValues(true)
	}
}

func (j *foreignKeyJoin[K, L, FK, R, O]) registrationTopic() string {
	return j.name + "-subscription-registration-topic"
}

func (j *foreignKeyJoin[K, L, FK, R, O]) responseTopic() string {
	return j.name + "-subscription-response-topic"
}

func (j *foreignKeyJoin[K, L, FK, R, O]) storeName() string { return j.name + "-subscription-store" }

func (j *foreignKeyJoin[K, L, FK, R, O]) addToGraph(compiler *plan.Compiler) error {
	if err := j.findSerdes(); err != nil {
		return err
	}
	if err := compiler.AddTimestampedStore(j.storeName(), j.settings); err != nil {
		return err
	}
	compiler.SetRowFormat(j.storeName(), "subscriptions", j.serdes.foreignKey, j.serdes.key)
	subscriptions, err := j.addSubscribe(compiler)
	if err != nil {
		return err
	}
	responses, err := j.addRespond(compiler, subscriptions)
	if err != nil {
		return err
	}
	compiler.CoPartition(j.rightOut, subscriptions)
	compiler.CoPartition(j.leftOut, responses)
	return j.addResolve(compiler, responses)
}

func (j *foreignKeyJoin[K, L, FK, R, O]) findSerdes() error {
	var errs [4]error
	j.serdes.key, errs[0] = plan.KeySerde[K](j.leftOut.Node)
	j.serdes.left, errs[1] = plan.ValueSerde[L](j.leftOut.Node)
	j.serdes.foreignKey, errs[2] = plan.KeySerde[FK](j.rightOut.Node)
	j.serdes.right, errs[3] = plan.ValueSerde[R](j.rightOut.Node)
	return errors.Join(errs[:]...)
}

type subscription[FK any] = plan.Topic[FK, kswire.Subscription]

// addRegistrationTopic adds the topic of subscriptions, which is partitioned like the right table.
func (j *foreignKeyJoin[K, L, FK, R, O]) addRegistrationTopic(
	compiler *plan.Compiler, from plan.Out,
) (plan.Out, error) {
	t := subscription[FK]{Key: j.serdes.foreignKey, Value: kswire.SubscriptionSerde}
	step := j.name + "-subscription-registration"
	return plan.ThroughInternalTopic(compiler, plan.InternalTopic[FK, kswire.Subscription, FK, kswire.Subscription]{
		Name: j.registrationTopic(), Sink: step + "-sink", Source: step + "-source", Write: t, Read: t,
	}, from)
}

// addResponseTopic adds the topic of responses. Each goes to the partition that the subscription
// came from, whatever the left table is partitioned by.
func (j *foreignKeyJoin[K, L, FK, R, O]) addResponseTopic(compiler *plan.Compiler, from ...plan.Out) (plan.Out, error) {
	step := j.name + "-subscription-response"
	return plan.ThroughInternalTopic(compiler, plan.InternalTopic[[]byte, kswire.Response[[]byte], K, kswire.Response[R]]{
		Name: j.responseTopic(), Sink: step + "-sink", Source: step + "-source",
		Write: plan.Topic[[]byte, kswire.Response[[]byte]]{
			Key: serde.Bytes, Value: kswire.ResponseSerde[[]byte](serde.Bytes), ChoosePartition: toPartitionOfRow,
		},
		Read: plan.Topic[K, kswire.Response[R]]{Key: j.serdes.key, Value: kswire.ResponseSerde(j.serdes.right)},
	}, from...)
}
