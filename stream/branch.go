package stream

import (
	"strconv"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
)

// Branch returns the records for which test is true, and those for which it is false.
//
//	big, small := stream.Branch(orders, func(r stream.Record[string, Order]) bool { return r.Value.Cents > 10_000 })
func Branch[K, V any](s KStream[K, V], test func(Record[K, V]) bool) (yes, no KStream[K, V]) {
	n := parting(s, "stream.Branch", []string{"yes", "no"}, func(at site, outs []wire.Outlet[K, V]) wire.Outlet[K, V] {
		yes, no := outs[0], outs[1]
		return func(r Record[K, V]) error {
			at.enter()
			if test(r) {
				return yes(r)
			}
			return no(r)
		}
	}).Funcs(test)
	return part[K, V](n, 0), part[K, V](n, 1)
}

// Split returns for each case the records for which it is the first to be true, and the rest. Where the rest is not used, what matches
// no case is dropped and counted.
//
//	of, rest := stream.Split(orders, isGerman, isFrench)
//	stream.To(of[0].Named("german"), german)
func Split[K, V any](s KStream[K, V], cases ...func(Record[K, V]) bool) (of []KStream[K, V], rest KStream[K, V]) {
	names := make([]string, 0, len(cases)+1)
	fs := make([]any, len(cases))
	for i, f := range cases {
		names, fs[i] = append(names, strconv.Itoa(i+1)), f
	}
	n := parting(s, "stream.Split", append(names, "rest"), split(cases)).Funcs(fs...)
	if len(cases) == 0 {
		n.Errorf("it has no cases")
	}
	of = make([]KStream[K, V], len(cases))
	for i := range of {
		of[i] = part[K, V](n, i)
	}
	return of, part[K, V](n, len(cases))
}

func split[K, V any](cases []func(Record[K, V]) bool) func(site, []wire.Outlet[K, V]) wire.Outlet[K, V] {
	return func(at site, outs []wire.Outlet[K, V]) wire.Outlet[K, V] {
		unused := len(at.node.Ports[len(cases)].Children) == 0
		return func(r Record[K, V]) error {
			at.enter()
			for i, f := range cases {
				if f(r) {
					return outs[i](r)
				}
			}
			if unused {
				at.drop(graph.NoBranch)
				return nil
			}
			return outs[len(cases)](r)
		}
	}
}

// parting makes the node of a step with an output for each name.
func parting[K, V any](s KStream[K, V], op string, names []string, start func(site, []wire.Outlet[K, V]) wire.Outlet[K, V]) *plan.Node {
	n := plan.New[K, V](nil, op, "branch", handle(s).Out())
	if n == nil {
		return nil
	}
	n.Emit = func(c *plan.Compile) error {
		g := &graph.Node{Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			typed := make([]wire.Outlet[K, V], len(outs))
			for i, x := range outs {
				typed[i] = x.(wire.Outlet[K, V])
			}
			return start(newSite(n, env), typed), nil
		}}
		if err := c.Add(n.Name(), g, n.Input(0)); err != nil {
			return err
		}
		for i, name := range names {
			plan.Gives[K, V](c, i, g, name)
		}
		return nil
	}
	return passes(n).KeepKey(0).KeepValue(0)
}

// part makes the stream of output i of a node that parts its input. It has a node of its own, since each part may be named and have
// serdes.
func part[K, V any](of *plan.Node, i int) KStream[K, V] {
	if of == nil {
		return KStream[K, V]{}
	}
	out := plan.Port[K, V](of, i).Out()
	n := plan.New[K, V](nil, of.Op, "branch", out)
	n.Emit = func(c *plan.Compile) error {
		c.Alias(0, out)
		if n.Name() != "" {
			return c.NameOutput(out, n.Name())
		}
		return nil
	}
	return result[K, V](passes(n).KeepKey(0).KeepValue(0))
}
