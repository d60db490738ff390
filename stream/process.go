package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/processor"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// Process passes each record to a processor, which forwards any number of records with any keys.
// start makes the processor, once for each task: it opens the stores and outputs listed in uses,
// schedules punctuations (EveryStreamTime and EveryWallClock of topology.Task), and returns the
// function that is called for each record. An error of start fails the task, which stops the App, unless
// Config.OnTaskError restarts the task. An error of the function or of a punctuation goes to the step's
// policy; what was forwarded and written to stores before the error stays. Steps that follow and need
// records in the partition of their key use a repartition topic.
//
//	seen := store.NewKeyValue("seen", serde.String, serde.Int64)
//	firsts := stream.Process(clicks, "firsts",
//		func(c *stream.Context[string, Click]) (func(stream.Record[string, Click]) error, error) {
//			seen := seen.In(c)
//			return func(r stream.Record[string, Click]) error {
//				_, again, err := seen.PutIfAbsent(r.Key, 1)
//				if !again && err == nil {
//					c.Forward(r)
//				}
//				return err
//			}, nil
//		}, seen)
func Process[K, V, K2, V2 any](
	s KStream[K, V], name string, start func(*Context[K2, V2]) (func(Record[K, V]) error, error), uses ...store.Dependency,
) KStream[K2, V2] {
	n := processNode[K2, V2](s, "stream.Process", name, start, uses,
		func(site wire.Site, out wire.Outlet[K2, V2]) processorInit[K, V] {
			context := &Context[K2, V2]{}
			task := initTask(&context.Task, site)
			task.SetForward(wire.Forwarder(task, out))
			return processorInit[K, V]{task, func() (func(Record[K, V]) error, error) { return start(context) }}
		})
	return result[K2, V2](changesKey(n))
}

// processorInit is a processor of one task before its constructor has run.
type processorInit[K, V any] struct {
	task  *processor.Task
	start func() (func(Record[K, V]) error, error)
}

// processNode makes the node of a processor. open makes the processor's context for one task.
func processNode[K2, V2, K, V any](
	s KStream[K, V], op, name string, f any, uses []store.Dependency,
	open func(wire.Site, wire.Outlet[K2, V2]) processorInit[K, V],
) *plan.Node {
	node := plan.New[K2, V2](nil, op, "process", handle(s).Out()).CheckFuncs(f)
	if node == nil {
		return nil
	}
	node.FixName(name)
	node.CanFail = true
	// Outputs are declared at the call, since Side looks them up before Build. Stores are resolved in
	// Build: a reference may be that of a table whose store only a later call creates.
	outputs := declareOutputs(node, uses)
	node.AddToGraph = func(compiler *plan.Compiler) error {
		stores, err := compiler.UseStores(uses)
		if err != nil {
			return err
		}
		graphNode := &graph.Node{Stores: stores, Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			site := wire.NewSite(node, env)
			init := open(site, outs[0].(wire.Outlet[K2, V2]))
			// The outputs must be open before inlet runs the constructor, which calls Output.In.
			for i, out := range outputs {
				out.open(init.task, outs[i+1])
			}
			return init.inlet(site)
		}}
		if err := compiler.AddNode(node.Name(), graphNode, node.Input(0)); err != nil {
			return err
		}
		plan.SetOutput[K2, V2](compiler, 0, graphNode, "")
		for i, out := range outputs {
			out.addTo(compiler, i+1, graphNode)
		}
		return nil
	}
	return node.InheritKeySerde(0).InheritValueSerde(0)
}

// initTask makes t, which users see, the processor of a step, and returns it as the library drives it.
func initTask(t *topology.Task, site wire.Site) *processor.Task {
	task := (*processor.Task)(t)
	task.Init(site.Env, site.Node)
	return task
}

// inlet runs the user's constructor and returns the inlet of the processor.
func (init processorInit[K, V]) inlet(site wire.Site) (any, error) {
	f, err := init.start()
	// Start ends the constructor's time: it returns what the task noticed meanwhile, such as an output
	// that is not listed, even if the constructor ignored it.
	if err = errors.Join(err, init.task.Start()); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, errors.New("its constructor returned neither a function nor an error")
	}
	task := init.task
	return retryInlet(site, func(r Record[K, V]) error {
		task.Enter()
		// An error downstream of Forward is fatal whatever f returns: f may not have noticed it.
		return task.Result(f(r))
	}), nil
}
