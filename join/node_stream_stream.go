package join

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// streamStream is a join of two streams. leftAlone and rightAlone make the results of records
// without a partner; they are nil if such records have none.
type streamStream[K, L, R, O any] struct {
	opname, name string
	window       window.Join
	options      []store.Option
	pair         func(L, R) O
	leftAlone    func(L) O
	rightAlone   func(R) O

	// What follows is known when the program is built.
	key                   serde.Serde[K]
	leftValue             serde.Serde[L]
	rightValue            serde.Serde[R]
	before, after, grace  int64  // milliseconds
	leftStore, rightStore string // stores; the same one where they are shared
	unmatchedStore        string // store, empty in an inner join
}

func (j *streamStream[K, L, R, O]) node(left stream.KStream[K, L], right stream.KStream[K, R]) *plan.Node {
	leftIn, rightIn := plan.Stream[K, L](left).Handle(), plan.Stream[K, R](right).Handle()
	node := plan.New[K, O](nil, j.opname, "join", leftIn.Out(), rightIn.Out())
	if node == nil {
		return nil
	}
	node.FixName(j.name)
	// A left record without a key has no partner, but has a result of its own in a left or outer
	// join.
	node.KeyChanged, node.CanFail, node.JoinsNoKey = false, true, j.leftAlone != nil
	settings, err := spec.ReadStoreOptions(j.options, spec.OptionInMemory, spec.OptionNoChangelog, spec.OptionTopicConfig,
		spec.OptionName, spec.OptionShared)
	node.AddError(err)
	windowSpec := spec.JoinHandle(j.window).Windows()
	node.AddError(windowSpec.Check())
	if settings.Shared && (j.leftAlone != nil || leftIn.Out() != rightIn.Out()) {
		node.AddError(fmt.Errorf("option %s is for join.StreamStream of a stream with itself", spec.OptionShared))
	}
	node.AddToGraph = func(compiler *plan.Compiler) error {
		if err := j.declareStores(compiler, node, leftIn, rightIn, windowSpec, settings); err != nil {
			return err
		}
		if settings.Shared {
			return j.addSharedToGraph(compiler, leftIn)
		}
		return j.addToGraph(compiler, leftIn, rightIn)
	}
	return node.InheritKeySerde(0)
}

// declareStores finds the serdes and declares the stores.
func (j *streamStream[K, L, R, O]) declareStores(
	compiler *plan.Compiler, n *plan.Node, left plan.Handle[K, L], right plan.Handle[K, R], windowSpec spec.Windows,
	settings spec.StoreSettings,
) error {
	j.before, j.after, j.grace = windowSpec.Before.Milliseconds(), windowSpec.After.Milliseconds(),
		windowSpec.Grace.Milliseconds()
	j.nameStores(settings)
	var errs [6]error
	j.key, errs[0] = plan.KeySerde[K](n)
	j.leftValue, errs[1] = plan.ValueSerde[L](left.Node())
	j.rightValue, errs[2] = plan.ValueSerde[R](right.Node())
	size := windowSpec.Before + windowSpec.After
	def := graph.Store{
		Name: j.leftStore, Kind: graph.Window, Size: size, Duplicates: true,
		// A row is visible while it is younger than the retention. A row at the very end of its window can
		// still be joined, so the retention is a millisecond longer than the window.
		Retention: size + windowSpec.Grace + time.Millisecond,
	}
	errs[3] = compiler.AddStoreOfKind(def, settings)
	compiler.SetRowFormat(j.leftStore, "", j.key, j.leftValue)
	if j.rightStore != j.leftStore {
		def.Name = j.rightStore
		errs[4] = compiler.AddStoreOfKind(def, settings)
		compiler.SetRowFormat(j.rightStore, "", j.key, j.rightValue)
	}
	if j.unmatchedStore != "" {
		errs[5] = compiler.AddStoreOfKind(graph.Store{Name: j.unmatchedStore, Kind: graph.Plain}, settings)
		// The store has values of both sides. A change of their formats is found at the stores of the sides.
		compiler.SetRowFormat(j.unmatchedStore, "outer join", j.key, nil)
	}
	return errors.Join(errs[:]...)
}

// nameStores names the stores as Kafka Streams does: the name of one side's store depends on
// whether records of the other side have results without a partner.
func (j *streamStream[K, L, R, O]) nameStores(settings spec.StoreSettings) {
	base := settings.Name
	if base == "" {
		base = j.name
	}
	j.leftStore, j.rightStore = base+"-this-join-store", base+"-other-join-store"
	if settings.Shared {
		j.rightStore = j.leftStore
	}
	if j.leftAlone != nil {
		j.rightStore, j.unmatchedStore = base+"-outer-other-join-store", base+"-left-shared-join-store"
	}
	if j.rightAlone != nil {
		j.leftStore, j.unmatchedStore = base+"-outer-this-join-store", base+"-outer-shared-join-store"
	}
}

// addToGraph adds the nodes: one for each side, and one that both lead to.
func (j *streamStream[K, L, R, O]) addToGraph(
	compiler *plan.Compiler, left plan.Handle[K, L], right plan.Handle[K, R],
) error {
	// A left or outer join has results for records without a key, too: they go through the repartition
	// topics, to some partition.
	keepNoKey := j.leftAlone != nil
	fromLeft, err := plan.PartitionedBy(compiler, left, plan.Repartition[K, L]{Name: j.name + "-left",
		IncludeNoKey: keepNoKey})
	if err != nil {
		return err
	}
	fromRight, err := plan.PartitionedBy(compiler, right, plan.Repartition[K, R]{Name: j.name + "-right",
		IncludeNoKey: keepNoKey})
	if err != nil {
		return err
	}
	compiler.CoPartition(fromLeft, fromRight)
	stores := []string{j.leftStore, j.rightStore}
	if j.unmatchedStore != "" {
		stores = append(stores, j.unmatchedStore)
	}
	this := &graph.Node{Op: "join-this", Stores: stores, Wire: j.wireThis}
	other := &graph.Node{Op: "join-other", Stores: stores, Wire: j.wireOther}
	if err := compiler.AddNode(j.name+"-join-this", this, fromLeft); err != nil {
		return err
	}
	if err := compiler.AddNode(j.name+"-join-other", other, fromRight); err != nil {
		return err
	}
	g := &graph.Node{Stores: stores, TracksTime: true, Wire: j.wireJoin}
	if err := compiler.AddNode(j.name, g, compiler.LinkInlet(1, this), compiler.LinkInlet(2, other)); err != nil {
		return err
	}
	plan.SetOutput[K, O](compiler, 0, g, "")
	return nil
}

// addSharedToGraph adds the single node of a stream that is joined with itself and has one store.
func (j *streamStream[K, L, R, O]) addSharedToGraph(compiler *plan.Compiler, in plan.Handle[K, L]) error {
	from, err := plan.PartitionedBy(compiler, in, plan.Repartition[K, L]{Name: j.name + "-left"})
	if err != nil {
		return err
	}
	g := &graph.Node{Stores: []string{j.leftStore}, TracksTime: true, Wire: j.wireShared}
	if err := compiler.AddNode(j.name, g, from); err != nil {
		return err
	}
	plan.SetOutput[K, O](compiler, 0, g, "")
	return nil
}
