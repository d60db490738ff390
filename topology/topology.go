// Package topology is what Build returns, the graph of a program's steps, and what a step sees of the task that runs it:
// records, headers, the task's clock, stores and punctuations.
package topology

import "github.com/millstream-go/millstream/internal/graph"

// Topology is a program, built: the input of millstream.New and testdriver.New. It does not change and may be used by several
// goroutines, Apps and drivers at once.
type Topology struct{ g *graph.Graph }

// New wraps a graph. For the packages of this module.
func New(g *graph.Graph) *Topology { return &Topology{g: g} }

// Graph returns what t wraps. For the packages of this module.
func (t *Topology) Graph() *graph.Graph { return t.g }
