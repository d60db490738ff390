package join

import (
	"errors"
	"slices"

	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/table"
)

// foreignKey is a foreign-key join in the plan: steps in the tasks of the left table and in those of the right one, which talk through
// two internal topics.
//
//	left table --> registration-processor --> registration-topic --> receive --> join-foreign --+
//	right table ----------------------------------------> foreign-join-subscription ------------+
//	                result <-- response-resolver <-- response-topic <---------------------------+
type foreignKey[K, L, FK, R, O any] struct {
	op, name string
	left     bool
	key      func(K, L) (FK, bool)
	join     func(l L, r R, ok bool) O
	given    any // what join calls

	l, r     plan.Out
	settings storespec.Settings
	with     foreignSerdes[K, L, FK, R]
}

type foreignSerdes[K, L, FK, R any] struct {
	key        serde.Serde[K]
	left       serde.Serde[L]
	foreignKey serde.Serde[FK]
	right      serde.Serde[R]
}

// foreign makes the nodes of a foreign-key join: one that talks and resolves, whose stream of results a second one takes as a table.
func foreign[K, L, FK, R, O any](l table.KTable[K, L], r table.KTable[FK, R], x foreignKey[K, L, FK, R, O], opts []store.Option) table.KTable[K, O] {
	x.l, x.r = plan.KTable[K, L](l).Handle().Out(), plan.KTable[FK, R](r).Handle().Out()
	n := plan.New[K, O](nil, x.op, "foreign-key", x.l, x.r).Funcs(x.key, x.given)
	if n == nil {
		return table.KTable[K, O]{}
	}
	n.GiveName(x.name)
	var err error
	if x.settings, err = storespec.Read(opts, storespec.InMemory, storespec.NoChangelog, storespec.TopicConfig); err != nil {
		n.Mistake(err)
		opts = nil
	}
	result := table.ToTable(result[K, O](n.KeepKey(0)), x.name+"-result", append(slices.Clone(opts), store.OnDemand())...)
	handle := plan.KTable[K, O](result).Handle().Node()
	handle.Op = x.op
	n.Demand = x.demand
	n.Emit = func(c *plan.Compile) error {
		n.SharePolicy(handle)
		return x.emit(c)
	}
	return result
}

// demand asks for the rows of both sides, and for the old ones of the left: a row that refers to another one than before has to leave
// that. Kafka Streams asks for the old ones of the right as well, which has filters send less.
func (x *foreignKey[K, L, FK, R, O]) demand() {
	for _, side := range []plan.Out{x.l, x.r} {
		plan.TableOf(side).AskRows()
		plan.TableOf(side).AskOld(true)
	}
}

func (x *foreignKey[K, L, FK, R, O]) registration() string {
	return x.name + "-subscription-registration-topic"
}

func (x *foreignKey[K, L, FK, R, O]) response() string {
	return x.name + "-subscription-response-topic"
}

func (x *foreignKey[K, L, FK, R, O]) store() string { return x.name + "-subscription-store" }

func (x *foreignKey[K, L, FK, R, O]) emit(c *plan.Compile) error {
	if err := x.findSerdes(); err != nil {
		return err
	}
	if err := c.AddStore(x.store(), x.settings); err != nil {
		return err
	}
	subscribed, err := x.subscribe(c)
	if err != nil {
		return err
	}
	answered, err := x.answer(c, subscribed)
	if err != nil {
		return err
	}
	c.Together(x.r, subscribed)
	c.Together(x.l, answered)
	return x.resolve(c, answered)
}

func (x *foreignKey[K, L, FK, R, O]) findSerdes() error {
	var errs [4]error
	x.with.key, errs[0] = plan.KeySerde[K](x.l.Node)
	x.with.left, errs[1] = plan.ValueSerde[L](x.l.Node)
	x.with.foreignKey, errs[2] = plan.KeySerde[FK](x.r.Node)
	x.with.right, errs[3] = plan.ValueSerde[R](x.r.Node)
	return errors.Join(errs[:]...)
}

type subscription[FK any] = plan.Topic[FK, interchange.Subscription]

// cross makes the topic of subscriptions, which go to where the right row is.
func (x *foreignKey[K, L, FK, R, O]) cross(c *plan.Compile, from plan.Out) (plan.Out, error) {
	t := subscription[FK]{Key: x.with.foreignKey, Value: interchange.SubscriptionSerde}
	step := x.name + "-subscription-registration"
	return plan.Cross(c, plan.InternalTopic[FK, interchange.Subscription, FK, interchange.Subscription]{
		Name: x.registration(), Sink: step + "-sink", Source: step + "-source", Write: t, Read: t,
	}, from)
}

// crossBack makes the topic of answers, which go to where the left row is: whatever its table is partitioned by.
func (x *foreignKey[K, L, FK, R, O]) crossBack(c *plan.Compile, from ...plan.Out) (plan.Out, error) {
	step := x.name + "-subscription-response"
	return plan.Cross(c, plan.InternalTopic[[]byte, interchange.Response[[]byte], K, interchange.Response[R]]{
		Name: x.response(), Sink: step + "-sink", Source: step + "-source",
		Write: plan.Topic[[]byte, interchange.Response[[]byte]]{
			Key: serde.Bytes, Value: interchange.ResponseSerde[[]byte](serde.Bytes), Choose: backToItsRow,
		},
		Read: plan.Topic[K, interchange.Response[R]]{Key: x.with.key, Value: interchange.ResponseSerde(x.with.right)},
	}, from...)
}
