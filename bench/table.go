package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// yardstick is what Kafka Streams 4.3.0 needs for a workload on such a machine: µs of CPU a record and MB of memory.
type yardstick struct{ cpu, rss float64 }

var streams = map[string]yardstick{
	"pass":    {4.7, 536},
	"count":   {16.7, 487},
	"join":    {9.6, 440},
	"restore": {4.3, 369},
}

// line is a row of the table.
type line struct {
	name string
	app  result
	mem  memory
	bare *result // nil: none
}

type report struct {
	lines   []line
	latency []string
}

func (t *report) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "workload\trecords/s\tCPU µs/rec\tbare loop\tratio\tKafka Streams\tratio\tallocs/rec\tB/rec\tRssAnon MB\tRssFile MB\tof its RSS\tCPU s, whole\t")
	for _, l := range t.lines {
		bare, ratio, ks, ksRatio, rss := "", "", "", "", ""
		if l.bare != nil {
			bare, ratio = fmt.Sprintf("%.2f", l.bare.CPU), fmt.Sprintf("%.2f", l.app.CPU/l.bare.CPU)
		}
		if y, ok := streams[l.name]; ok {
			ks, ksRatio = fmt.Sprintf("%.1f", y.cpu), fmt.Sprintf("%.2f", l.app.CPU/y.cpu)
			rss = fmt.Sprintf("%.2f", (l.mem.anon+l.mem.file)/y.rss)
		}
		fmt.Fprintf(tw, "%s\t%.0f k\t%.2f\t%s\t%s\t%s\t%s\t%.3f\t%.0f\t%.0f\t%.0f\t%s\t%.1f\t\n", l.name, float64(l.app.Records)/l.app.Seconds/1000,
			l.app.CPU, bare, ratio, ks, ksRatio, l.app.Allocs, l.app.Bytes, l.mem.anon, l.mem.file, rss, l.app.Whole)
	}
	tw.Flush()
	for _, s := range t.latency {
		fmt.Fprintln(w, s)
	}
}
