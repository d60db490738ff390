package graph

// Handle is a graph in the hands of users: topology.Topology is a Handle under another name. The
// packages of this module convert the pointer to get at the graph; users cannot, and do not see
// how.
type Handle struct{ graph *Graph }

// NewHandle returns the handle of g.
func NewHandle(g *Graph) *Handle { return &Handle{g} }

// Graph returns the graph.
func (h *Handle) Graph() *Graph { return h.graph }
