// Command finalwindows counts clicks by page and hour, and writes one final result for each hour:
// SuppressUntilClose holds the changes back until the hour and its grace period are over.
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
	hourly = window.Tumbling(time.Hour).Grace(5 * time.Minute)

	clicks  = stream.NewTopic("clicks", serde.String, serde.String) // page, visitor
	perHour = stream.NewTopic("clicks-per-hour", window.TimeKey(serde.String, hourly), serde.Int64)
)

func build() (*topology.Topology, error) {
	b := stream.NewBuilder()
	counts := table.CountWindows(stream.GroupByKey(stream.From(b, clicks)), hourly, "clicks-per-hour")
	// The buffer has no bound, since what a full one would have to send early is not final.
	final := table.SuppressUntilClose(counts, "final-clicks-per-hour", table.Unbounded())
	stream.To(table.ToStream(final), perHour)
	return b.Build()
}

func main() { program.Run("finalwindows", build) }
