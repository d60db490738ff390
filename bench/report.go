package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Who does a workload.
const (
	whoApp           = "Millstream"
	whoOnce          = "Millstream, exactly once"
	whoStreams       = "Kafka Streams"
	whoBare          = "bare loop"
	whoPebbleIngest  = "Pebble, ingest"
	whoPebbleBatches = "Pebble, batches"
	whoBbolt         = "bbolt"
)

// programName is the name of a kind of program in what is printed.
var programName = map[string]string{kindApp: whoApp, kindOnce: whoOnce, kindStreams: whoStreams, kindBare: whoBare}

// figures are what a program needed for a workload at a size.
type figures struct {
	Workload string
	Rows     int64
	Who      string
	Input    int64 // records that it read in all
	Result   result
	Memory   memory
}

// rate is how many records a second were processed.
func (r figures) rate() float64 { return float64(r.Result.Records) / r.Result.Seconds }

// perRecord is what was written to files for a record of the input.
func (r figures) perRecord() float64 { return float64(r.Result.Written) / float64(r.Input) }

// report is what a run has found.
type report struct {
	about     []string
	began     time.Time
	rows      []figures
	tables    []*sheet // what has columns of its own
	sentences []string // what does not fit a table
}

// sheet is a table with columns of its own.
type sheet struct {
	title string
	rows  [][]string // the first has the names of the columns
}

// sheet begins a table.
func (t *report) sheet(title string, columns ...string) *sheet {
	own := &sheet{title: title, rows: [][]string{columns}}
	t.tables = append(t.tables, own)
	return own
}

// add adds a row, and says on the standard error how far it is.
func (t *sheet) add(row ...string) {
	t.rows = append(t.rows, row)
	fmt.Fprintf(os.Stderr, "%s: %s\n", t.title, strings.Join(row, ", "))
}

func (t *sheet) print(w io.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n", t.title)
	for i, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "| %s |\n", strings.Join(slices.Repeat([]string{"---:"}, len(row)), " | "))
		}
	}
}

func (t *report) say(sentence string) {
	fmt.Fprintln(os.Stderr, sentence)
	t.sentences = append(t.sentences, sentence)
}

// write prints the tables, and writes them with the charts into a directory, if there is one.
func (t *report) write(w io.Writer, dir string) error {
	var b bytes.Buffer
	t.markdown(&b)
	if _, err := w.Write(b.Bytes()); err != nil || dir == "" {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bench.md"), b.Bytes(), 0o644); err != nil {
		return err
	}
	for name, rows := range map[string][]figures{"apps.svg": t.apps(), "stores.svg": t.stores()} {
		if len(rows) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), chart(rows), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (t *report) stores() []figures {
	return slices.DeleteFunc(slices.Clone(t.rows), func(r figures) bool { return !slices.Contains(storePhases, r.Workload) })
}

func (t *report) apps() []figures {
	return slices.DeleteFunc(slices.Clone(t.rows), func(r figures) bool { return slices.Contains(storePhases, r.Workload) })
}

func (t *report) markdown(w io.Writer) {
	for _, l := range t.about {
		fmt.Fprintln(w, l)
	}
	printFigures(w, "Apps", t.apps())
	printRatios(w, "Apps: ratios", t.apps())
	printFigures(w, "Stores", t.stores())
	printRatios(w, "Stores: ratios", t.stores())
	for _, own := range t.tables {
		own.print(w)
	}
	if len(t.sentences) > 0 {
		fmt.Fprintln(w)
	}
	for _, s := range t.sentences {
		fmt.Fprintln(w, "-", s)
	}
}

// printFigures writes a table with a row for each program.
func printFigures(w io.Writer, title string, rows []figures) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n### %s\n\n", title)
	fmt.Fprintln(w, "| workload | rows | program | CPU µs/record | records/s | RssAnon MB | RssFile MB | written B/record | on disk MB | allocs/record |")
	fmt.Fprintln(w, "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, r := range sorted(rows) {
		allocs, disk := fmt.Sprintf("%.3f", r.Result.Allocs), ""
		if r.Who == whoStreams {
			allocs = "" // nobody counts them
		}
		if r.Result.Disk > 0 {
			disk = fmt.Sprintf("%.0f", float64(r.Result.Disk)/1e6)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %.0f k | %.0f | %.0f | %.0f | %s | %s |\n", r.Workload, howMany(r.Rows), r.Who, r.Result.CPU,
			r.rate()/1000, r.Memory.Anon, r.Memory.File, r.perRecord(), disk, allocs)
	}
}

// printRatios writes a table of Millstream's figures by those of each of the others.
func printRatios(w io.Writer, title string, all []figures) {
	var whos []string
	for _, r := range all {
		if r.Who != whoApp && !slices.Contains(whos, r.Who) {
			whos = append(whos, r.Who)
		}
	}
	if len(whos) == 0 {
		return
	}
	resident := slices.Contains(whos, whoStreams)
	fmt.Fprintf(w, "\n### %s\n\n| workload | rows | CPU µs/record |", title)
	for _, who := range whos {
		fmt.Fprintf(w, " CPU / %s | rate / %s |", who, who)
	}
	if resident {
		fmt.Fprintf(w, " RssAnon / RSS of %s |", whoStreams)
	}
	fmt.Fprint(w, "\n| --- | ---: | ---: |", strings.Repeat(" ---: |", 2*len(whos)))
	if resident {
		fmt.Fprint(w, " ---: |")
	}
	fmt.Fprintln(w)
	for _, r := range sorted(all) {
		if r.Who != whoApp {
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %.2f |", r.Workload, howMany(r.Rows), r.Result.CPU)
		rss := ""
		for _, who := range whos {
			i := slices.IndexFunc(all, func(x figures) bool { return x.Who == who && x.Workload == r.Workload && x.Rows == r.Rows })
			if i < 0 {
				fmt.Fprint(w, " | |")
				continue
			}
			fmt.Fprintf(w, " %.2f | %.1f |", r.Result.CPU/all[i].Result.CPU, r.rate()/all[i].rate())
			if who == whoStreams {
				rss = fmt.Sprintf("%.2f", r.Memory.Anon/(all[i].Memory.Anon+all[i].Memory.File))
			}
		}
		if resident {
			fmt.Fprintf(w, " %s |", rss)
		}
		fmt.Fprintln(w)
	}
}

// sorted orders rows by workload and size, in the order in which both were first measured.
func sorted(rows []figures) []figures {
	first := map[string]int{}
	for i, r := range rows {
		if _, ok := first[r.Workload]; !ok {
			first[r.Workload] = i
		}
	}
	out := slices.Clone(rows)
	slices.SortStableFunc(out, func(x, y figures) int {
		return cmp.Or(cmp.Compare(first[x.Workload], first[y.Workload]), cmp.Compare(x.Rows, y.Rows))
	})
	return out
}

// howMany writes a number of rows as people say it.
func howMany(n int64) string {
	switch {
	case n == 0:
		return ""
	case n%1_000_000 == 0:
		return fmt.Sprintf("%d M", n/1_000_000)
	case n%1000 == 0:
		return fmt.Sprintf("%d k", n/1000)
	}
	return fmt.Sprint(n)
}
