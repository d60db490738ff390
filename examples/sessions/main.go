// Command sessions counts how many pages a visitor looks at in one visit. A visit ends after 30
// minutes without a page, and its result is sent once, when it has ended.
package main

import (
	"time"

	"github.com/millstream-go/millstream/examples/internal/program"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

var (
	pages  = stream.NewTopic("pages", serde.String, serde.String) // visitor, path
	visits = stream.NewTopic("visits", window.SessionKey(serde.String), serde.Int64)

	// Pages that come up to a minute late are still counted. OnClose sends one result for each session
	// instead of one for each page.
	visit = window.Sessions(30 * time.Minute).Grace(time.Minute).OnClose()
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	byVisitor := stream.GroupByKey(stream.From(b, pages))
	counts := table.CountWindows(byVisitor, visit, "pages-per-visit")
	stream.To(table.ToStream(counts), visits)
	return b.Build()
}

func main() { program.Run("sessions", build) }
