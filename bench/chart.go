package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// A chart has a panel for each workload: CPU of a record against rows, both logarithmic, with a line for each program.

const (
	panelWidth, panelHeight = 300, 230
	plotLeft, plotTop       = 46, 34
	plotWidth, plotHeight   = 236, 150
	panelsPerRow            = 3
	legendWidth             = 140
	legendHeight            = 40
)

// colors are those of the programs.
var colors = map[string]string{
	whoApp: "#1f6fb4", whoOnce: "#5fb0c9", whoStreams: "#c8372d", whoBare: "#7a7a7a", whoPebbleIngest: "#2c8f4e", whoPebbleBatches: "#9a6a1f", whoBbolt: "#8257b8",
}

// chart draws figures as SVG.
func chart(all []figures) []byte {
	var names, whos []string
	for _, f := range all {
		if f.Rows > 0 && !slices.Contains(names, f.Workload) {
			names = append(names, f.Workload)
		}
		if f.Rows > 0 && !slices.Contains(whos, f.Who) {
			whos = append(whos, f.Who)
		}
	}
	across := min(panelsPerRow, max(len(names), 1))
	down := (len(names) + across - 1) / across
	width, height := max(across*panelWidth, plotLeft+len(whos)*legendWidth), down*panelHeight+legendHeight
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for i, name := range names {
		of := slices.DeleteFunc(slices.Clone(all), func(f figures) bool { return f.Workload != name || f.Rows == 0 })
		panel(&b, float64(i%across*panelWidth), float64(i/across*panelHeight), name, of, whos)
	}
	for i, who := range whos {
		x, y := plotLeft+i*legendWidth, down*panelHeight+16
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="4" fill="%s"/><text x="%d" y="%d" fill="#222">%s</text>`+"\n", x, y, colors[who], x+9, y+4, who)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// scale maps values to a length, logarithmically.
type scale struct{ low, high, length float64 }

func (s scale) at(v float64) float64 {
	if s.high <= s.low {
		return s.length / 2
	}
	return (math.Log(v) - math.Log(s.low)) / (math.Log(s.high) - math.Log(s.low)) * s.length
}

// panel draws one workload with its corner at x, y.
func panel(b *bytes.Buffer, x, y float64, name string, of []figures, whos []string) {
	rows, cost := scale{math.Inf(1), 0, plotWidth}, scale{math.Inf(1), 0, plotHeight}
	for _, f := range of {
		rows.low, rows.high = min(rows.low, float64(f.Rows)), max(rows.high, float64(f.Rows))
		cost.low, cost.high = min(cost.low, f.Result.CPU), max(cost.high, f.Result.CPU)
	}
	cost.low, cost.high = decade(max(cost.low, 0.001), math.Floor), decade(max(cost.high, 0.001), math.Ceil)
	px := func(n int64) float64 { return x + plotLeft + rows.at(float64(n)) }
	py := func(c float64) float64 { return y + plotTop + plotHeight - cost.at(max(c, 0.001)) }
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" font-size="13" font-weight="bold" fill="#222">%s</text>`, x+plotLeft, y+16, name)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="#666">CPU µs a record, by rows</text>`+"\n", x+plotLeft, y+29)
	for c := cost.low; c <= cost.high*1.01; c *= 10 {
		line(b, x+plotLeft, py(c), x+plotLeft+plotWidth, py(c), "#dddddd", 1)
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="end" fill="#444">%g</text>`+"\n", x+plotLeft-6, py(c)+4, math.Round(c*1000)/1000)
	}
	ticks := map[int64]bool{}
	for _, f := range of {
		if !ticks[f.Rows] {
			ticks[f.Rows] = true
			line(b, px(f.Rows), y+plotTop+plotHeight, px(f.Rows), y+plotTop+plotHeight+4, "#888888", 1)
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#444">%s</text>`+"\n", px(f.Rows), y+plotTop+plotHeight+17, howMany(f.Rows))
		}
	}
	for _, who := range whos {
		var last *figures
		for _, f := range sorted(of) {
			if f.Who != who {
				continue
			}
			if last != nil {
				line(b, px(last.Rows), py(last.Result.CPU), px(f.Rows), py(f.Result.CPU), colors[who], 2)
			}
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>%s, %s rows: %.2f µs</title></circle>`+"\n",
				px(f.Rows), py(f.Result.CPU), colors[who], who, howMany(f.Rows), f.Result.CPU)
			last = &f
		}
	}
}

func line(b *bytes.Buffer, x1, y1, x2, y2 float64, color string, width int) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%d"/>`+"\n", x1, y1, x2, y2, color, width)
}

// decade rounds to a power of ten.
func decade(v float64, round func(float64) float64) float64 {
	return math.Pow(10, round(math.Log10(v)))
}
