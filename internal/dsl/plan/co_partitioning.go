package plan

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/topology"
)

// Partitioning is how a user's function spreads the records of a topic over its partitions. A nil
// *Partitioning is Kafka's default, a hash of the key.
type Partitioning struct {
	byKey    any            // a func(K, int) int: the partition of a key
	function unsafe.Pointer // identifies the function value of the user
}

// NewPartitioning returns the partitioning by fn.
func NewPartitioning[K, V any](fn func(record topology.Record[K, V], n int) int) *Partitioning {
	if fn == nil {
		return nil
	}
	return &Partitioning{
		byKey: func(key K, n int) int { return fn(topology.Record[K, V]{Key: key, Tombstone: true}, n) },
		// A func is a pointer to its code and to the variables that it has captured: equal pointers
		// are equal functions. The pointer that package reflect gives is that of the code alone,
		// which two closures over different variables share.
		function: *(*unsafe.Pointer)(unsafe.Pointer(&fn)),
	}
}

// equal reports whether two partitionings are known to choose the same partition for every key.
// Functions cannot be compared in general, so false means "unknown".
func (p *Partitioning) equal(q *Partitioning) bool {
	return p == q || p != nil && q != nil && p.function == q.function
}

// PartitionedLike returns a function that chooses partitions for records of other values as p does
// for its own; nil for Kafka's default.
func PartitionedLike[K, V any](p *Partitioning) func(r topology.Record[K, V], n int) int {
	byKey, ok := byKeyFunc[K](p)
	if !ok {
		return nil
	}
	return func(r topology.Record[K, V], n int) int { return byKey(r.Key, n) }
}

// byKeyFunc returns the function of keys; ok is false when there is none for keys of that type.
func byKeyFunc[K any](p *Partitioning) (func(K, int) int, bool) {
	if p == nil {
		return nil, false
	}
	f, ok := p.byKey.(func(K, int) int)
	return f, ok
}

// Steps that meet by key (joins, aggregations of several streams, steps that share a store) find all
// records of a key in one task only if their topics are partitioned alike. The program declares how
// its topics are partitioned (Partitioner). Internal topics that the library makes (repartition
// topics, subscriptions of foreign-key joins) follow the topics that their records meet. This is
// decided after all steps were made: a topic may be made long before the join that decides about it.

// coPartition is a call, or a store that several steps use, whose inputs must be partitioned alike.
type coPartition struct {
	node *Node
	outs []Out
	// byStore reports that the steps meet in a store, and not by a call. What their functions use
	// as keys of its rows is unknown.
	byStore bool
}

// origin is a source and what is known about the partitions of its records.
type origin struct {
	topics   []topicPartitioning    // external topics
	internal *inheritedPartitioning // an internal topic that the library writes; nil for other topics
	windowed bool                   // keys are windowed

	group *coPartitionedSources
}

// topicPartitioning is a topic and its partitioning.
type topicPartitioning struct {
	topic        string
	partitioning *Partitioning
}

// coPartitionedSources is a set of sources whose topics must be partitioned alike.
type coPartitionedSources struct {
	origins    []*origin
	external   []topicPartitioning      // the user's topics
	userChosen []*inheritedPartitioning // topics of RepartitionBy
	byBaseKey  bool                     // windowed keys are spread by the key without the window
	reported   bool                     // a mistake was reported for the set
}

// inheritedPartitioning is what the sink of an internal topic follows: the partitioning of the
// topics that its records meet. It is complete when Build returns.
type inheritedPartitioning struct {
	topic            string
	partitioning     *Partitioning // what the sink follows
	byBaseKey        bool
	userPartitioning *Partitioning              // of RepartitionBy
	onePartition     bool                       // the topic has one partition
	mustAgreeWith    string                     // not empty: the topic that the function of RepartitionBy must agree with
	acceptsKey       func(p *Partitioning) bool // reports whether a partitioning can be asked about the topic's keys
}

func acceptsKey[K any](p *Partitioning) bool { _, ok := byKeyFunc[K](p); return p == nil || ok }

// registerExternal registers the source of the user's topics.
func registerExternal[K, V any](c *Compiler, g *graph.Node, topics []Topic[K, V]) {
	o := &origin{}
	for _, t := range topics {
		o.topics = append(o.topics, topicPartitioning{t.Name, t.Partitioning})
		_, o.windowed = t.Key.(baseKeySerde)
	}
	c.origins[g] = o
}

// registerInternal registers the source of an internal topic.
func (c *Compiler) registerInternal(source *graph.Node, f *inheritedPartitioning) {
	c.origins[source] = &origin{internal: f}
}

// newInherited returns what the sink of internal topic t follows. partitions is the number that the
// program sets, 0 when it sets none.
func newInherited[K, V any](t Topic[K, V], partitions int) *inheritedPartitioning {
	f := &inheritedPartitioning{
		topic: t.Name, acceptsKey: acceptsKey[K], userPartitioning: t.Partitioning, onePartition: partitions == 1,
	}
	if t.ChoosePartition != nil && t.Partitioning == nil {
		// The record itself carries its partition (responses of foreign-key joins), so no
		// partitioning is asked about its key.
		f.acceptsKey = func(*Partitioning) bool { return true }
	}
	return f
}

// CoPartition requires the topics that outs are read from to have equally many partitions, and each
// key in the same one.
func (c *Compiler) CoPartition(outs ...Out) {
	c.coPartitioned = append(c.coPartitioned, coPartition{node: c.current, outs: outs})
}

// resolvePartitionings finds the partitioning of each internal topic, or reports which topics
// cannot meet.
func (c *Compiler) resolvePartitionings() (errs topology.Errors) {
	for _, m := range append(slices.Clone(c.coPartitioned), c.storeUsers()...) {
		// Sources that meet form a set. gatherOrigins brings along the sets they belong to already:
		// if A meets B and B meets C, all three must agree.
		var group coPartitionedSources
		seen := map[*graph.Node]bool{}
		for _, out := range m.outs {
			c.gatherOrigins(&group, c.ports[out].node, false, seen)
		}
		// stream.RepartitionBy may choose by the value that is the key of a row. The program has
		// taken over, and nothing can be checked.
		if m.byStore && slices.ContainsFunc(
			group.origins, func(o *origin) bool { return o.internal != nil && o.internal.userPartitioning != nil },
		) {
			continue
		}
		// One mistake per set: further calls that join the same topics would repeat it.
		if err := group.check(); err != nil && !group.reported {
			if m.byStore {
				err = fmt.Errorf("%w; or, if the keys of its rows are not those of the records, with stream.AssumePartitioned", err)
			}
			errs = append(errs, m.node.err(err))
			group.reported = true
		}
		for _, o := range group.origins {
			o.group = &group
		}
	}
	// Sets have their final size only now.
	for _, g := range c.graph.Nodes {
		if o := c.origins[g]; o != nil && o.group != nil && o.internal != nil {
			o.internal.resolve(o.group)
		}
	}
	return errs
}

// gatherOrigins adds the sources of node within its sub-topology to group, with all that must be
// partitioned as they are. windowed reports that the way to node leads through an aggregation that
// made windows of the keys.
func (c *Compiler) gatherOrigins(
	group *coPartitionedSources, node *graph.Node, windowed bool, seen map[*graph.Node]bool,
) {
	// Behind a step that changes keys the program has taken over (stream.AssumePartitioned).
	if seen[node] || c.changesKey[node] {
		return
	}
	seen[node] = true
	o := c.origins[node]
	if o == nil {
		for _, p := range node.Parents {
			c.gatherOrigins(group, p, windowed || c.makesWindows[node], seen)
		}
		return
	}
	if windowed || o.windowed && len(o.topics) > 0 {
		group.byBaseKey = true
	}
	if slices.Contains(group.origins, o) {
		return
	}
	if o.group == nil {
		o.group = c.singleOrigin(o)
	}
	group.merge(o.group)
}

// singleOrigin returns the set of a source that has met no other yet.
func (c *Compiler) singleOrigin(o *origin) *coPartitionedSources {
	group := &coPartitionedSources{origins: []*origin{o}}
	for _, t := range o.topics {
		group.addExternal(t)
		for _, by := range c.sinkPartitionings[t.topic] {
			// The topic's declaration at the source has no Partitioner, and a sink of the same
			// program has one: the sink knows how the topic is written.
			if t.partitioning == nil && by != nil {
				group.external[len(group.external)-1].partitioning = by
				continue
			}
			group.addExternal(topicPartitioning{t.topic, by})
		}
	}
	if f := o.internal; f != nil && f.userPartitioning != nil {
		group.userChosen = append(group.userChosen, f)
	}
	return group
}

func (k *coPartitionedSources) addExternal(t topicPartitioning) {
	if !slices.ContainsFunc(
		k.external, func(x topicPartitioning) bool { return x.topic == t.topic && x.partitioning.equal(t.partitioning) },
	) {
		k.external = append(k.external, t)
	}
}

func (k *coPartitionedSources) merge(other *coPartitionedSources) {
	for _, o := range other.origins {
		if !slices.Contains(k.origins, o) {
			k.origins = append(k.origins, o)
		}
	}
	for _, t := range other.external {
		k.addExternal(t)
	}
	for _, f := range other.userChosen {
		if !slices.Contains(k.userChosen, f) {
			k.userChosen = append(k.userChosen, f)
		}
	}
	k.byBaseKey, k.reported = k.byBaseKey || other.byBaseKey, k.reported || other.reported
}

const alikeAdvice = "either read one of them through stream.Repartition, which partitions it like the topic it " +
	"meets (a table as " +
	"table.ToTable of it), or through stream.RepartitionBy with the other's function; or, if they are partitioned " +
	"alike, say so with stream.PartitionedLike"

// check returns which of the topics cannot meet.
func (k *coPartitionedSources) check() error {
	for _, t := range k.external {
		// The user's topics are read as they are, so they must agree already.
		if first := k.external[0]; !t.partitioning.equal(first.partitioning) {
			return fmt.Errorf("the records of one key may lie in different tasks: topic %q is partitioned by %s, topic %q "+
				"by %s; %s",
				first.topic, first.partitioning.describe(), t.topic, t.partitioning.describe(), alikeAdvice)
		}
	}
	for _, f := range k.userChosen {
		// Kafka's default hashes the bytes of a key; a function that chooses otherwise cannot agree
		// with it, except in a topic of one partition.
		if len(k.external) > 0 && k.external[0].partitioning == nil && !f.onePartition {
			return fmt.Errorf("the records of one key may lie in different tasks: topic %q is partitioned by %s, "+
				"repartition topic %q by the function of stream.RepartitionBy; use stream.Repartition, or "+
				"stream.RepartitionBy for both",
				k.external[0].topic, k.external[0].partitioning.describe(), f.topic)
		}
	}
	with, by := k.partitioning()
	for _, o := range k.origins {
		// A partitioner of plain keys cannot be asked about windowed keys.
		if o.internal != nil && !o.internal.acceptsKey(by) {
			return fmt.Errorf("topic %q is partitioned by %s, whose keys are not windowed: the windows of internal "+
				"topic %q cannot be partitioned alike; read topic %q through stream.Repartition",
				with, by.describe(), o.internal.topic, with)
		}
	}
	return nil
}

// partitioning returns the partitioning that internal topics follow, and the topic that decides.
func (k *coPartitionedSources) partitioning() (topic string, by *Partitioning) {
	switch {
	case len(k.external) > 0:
		return k.external[0].topic, k.external[0].partitioning
	case len(k.userChosen) > 0:
		return k.userChosen[0].topic, k.userChosen[0].userPartitioning
	}
	return "", nil
}

func (p *Partitioning) describe() string {
	if p == nil {
		return "Kafka's default, a hash of the key"
	}
	return "a Partitioner of its own"
}

func (f *inheritedPartitioning) resolve(k *coPartitionedSources) {
	topic, by := k.partitioning()
	f.partitioning, f.byBaseKey = by, k.byBaseKey
	// RepartitionBy may have a function of its own, as its records may have other types than those
	// of the topics they meet. Whether the two agree shows when records are written (checkChosen).
	if f.userPartitioning != nil && len(k.origins) > 1 {
		f.mustAgreeWith = topic
	}
}

// alike reports whether two internal topics are partitioned alike.
func (f *inheritedPartitioning) alike(g *inheritedPartitioning) bool {
	return f.partitioning.equal(g.partitioning) && f.byBaseKey == g.byBaseKey && f.mustAgreeWith == g.mustAgreeWith
}

// storeUsers returns, for each store, the steps that use it, with the topic that it is bound to: a
// task sees only the rows of its own partition.
func (c *Compiler) storeUsers() (out []coPartition) {
	for _, s := range c.graph.Stores {
		if s.Global {
			continue
		}
		m := coPartition{node: &Node{Op: "store", name: s.Name, pos: s.Pos}, byStore: s.SourceTopic == ""}
		for _, n := range c.graph.Nodes {
			switch {
			case !slices.Contains(n.Stores, s.Name):
			// The aggregation itself, not its parents: its keys become windows in the store.
			case c.makesWindows[n]:
				m.outs = append(m.outs, c.innerOutput(outputPort{node: n}))
			default:
				for _, p := range n.Parents {
					m.outs = append(m.outs, c.innerOutput(outputPort{node: p}))
				}
			}
		}
		out = append(out, m)
	}
	return out
}

// chooser returns the function that chooses the partitions of the topic that inherited describes;
// nil for Kafka's default. chosen is the function of the topic itself.
func chooser[K, V any](
	inherited *inheritedPartitioning, chosen func(record topology.Record[K, V], n int) int,
) func(record topology.Record[K, V], n int) int {
	if chosen == nil {
		chosen = PartitionedLike[K, V](inherited.partitioning)
	} else if inherited.userPartitioning == nil {
		return chosen
	}
	if chosen == nil {
		return nil
	}
	return func(record topology.Record[K, V], n int) int {
		// A record without a key belongs to no partition. It is spread without asking the user's
		// function, which looks at keys.
		if record.NoKey {
			return int(graph.ByKey)
		}
		return chosen(record, n)
	}
}

// checkChosen returns an error if RepartitionBy has chosen another partition for a key than the
// topics that its records meet.
func checkChosen[K, V any](
	inherited *inheritedPartitioning, record topology.Record[K, V], key []byte, chosen, n int,
) error {
	if inherited == nil || inherited.mustAgreeWith == "" || record.NoKey {
		return nil
	}
	want := int(partitioner.ForKey(key, n))
	if byKey, ok := byKeyFunc[K](inherited.partitioning); ok {
		want = byKey(record.Key, n)
	}
	switch {
	case want == chosen:
		return nil
	case inherited.mustAgreeWith == inherited.topic:
		return fmt.Errorf("the function of stream.RepartitionBy chose partition %d of topic %q by more than the key, "+
			"which alone belongs in partition %d: records of one key may lie in different tasks",
			chosen, inherited.topic, want)
	}
	return fmt.Errorf("stream.RepartitionBy chose partition %d of topic %q for a key that topic %q has in "+
		"partition %d, and their records meet; use stream.Repartition, which follows the other topic",
		chosen, inherited.topic, inherited.mustAgreeWith, want)
}
