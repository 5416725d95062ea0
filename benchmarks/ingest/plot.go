package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"

	"millrace/benchmarks/report"
)

// The plot is a picture of four panels. SVG is text, so it is written as such.
const (
	panelWidth  = 560
	panelHeight = 330
	margin      = 20
)

// colours are the peers', told apart by those who see no red or green too.
var colours = map[string]string{ours: "#0072b2", rsyslog: "#e69f00", syslogng: "#999999"}

// bar is one line of a bar chart.
type bar struct {
	label, colour string
	value         float64
	note          string // behind the value
}

func (r *Report) plot() string {
	var b strings.Builder
	width, height := 2*panelWidth+margin, 2*panelHeight+margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	panels := []func(*strings.Builder){
		func(b *strings.Builder) {
			drawBars(b, "TCP: CPU-s per million frames (and of rsyslog lz4); less is better", r.bars("tcp", mCPUPerM))
		},
		func(b *strings.Builder) {
			drawBars(b, "TCP: frames/s (and of rsyslog lz4)", r.bars("tcp", mFramesPerSec))
		},
		r.drawLoss,
		func(b *strings.Builder) {
			drawBars(b, "Latency, socket to acknowledgement, ms (less is better)", r.latencyBars())
		},
	}
	for i, draw := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", i%2*(panelWidth+margin), i/2*(panelHeight+margin))
		draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (r *Report) bars(section, metric string) []bar {
	var all []bar
	for _, x := range r.Section(section) {
		if v, ok := x.Median(metric); ok {
			note := ""
			if ratio, ok := r.Ratio(section, metric, x.Peer, x.Case, rsyslog, caseLZ4); ok {
				note = "(" + report.RatioCell(ratio, true) + ")"
			}
			all = append(all, bar{x.Peer + " " + x.Case, colours[x.Peer], v, note})
		}
	}
	return all
}

func (r *Report) latencyBars() []bar {
	var all []bar
	for _, x := range r.Section("latency") {
		if x.Case != caseBusy {
			continue
		}
		for _, p := range []struct{ name, metric string }{{"p50", mP50}, {"p99", mP99}, {"p99.9", mP999}} {
			if v, ok := x.Median(p.metric); ok {
				all = append(all, bar{x.Peer + " " + p.name, colours[x.Peer], v, ""})
			}
		}
	}
	return all
}

func title(b *strings.Builder, s string) {
	fmt.Fprintf(b, `<text x="10" y="22" font-size="15" font-weight="bold">%s</text>`+"\n", html.EscapeString(s))
}

func drawBars(b *strings.Builder, name string, bars []bar) {
	title(b, name)
	const left, right, top = 140, 130, 40
	most := 0.0
	for _, x := range bars {
		most = max(most, x.value)
	}
	step := min(34, (panelHeight-top-10)/max(1, len(bars)))
	for i, x := range bars {
		y := top + i*step
		length := x.value / most * (panelWidth - left - right)
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+step/2+4, html.EscapeString(x.label))
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, y+3, length, step-6, x.colour)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", left+length+6, y+step/2+4, strings.TrimSpace(report.Number(x.value)+" "+x.note))
	}
}

// drawLoss is the share of datagrams that never arrived, over the rate, for every rate
// that was tried.
func (r *Report) drawLoss(b *strings.Builder) {
	title(b, "UDP: share of datagrams lost at each rate that was tried")
	const left, right, top, bottom = 60, 20, 50, 45
	const plotWidth, plotHeight = panelWidth - left - right, panelHeight - top - bottom
	type point struct{ rate, lost float64 }
	points := map[string][]point{}
	most, worst := 0.0, 0.01
	for _, x := range r.Section("udp-steps") {
		for _, m := range x.Rounds {
			points[x.Peer] = append(points[x.Peer], point{m[mFramesPerSec], m[mLostShare]})
			most, worst = max(most, m[mFramesPerSec]), max(worst, m[mLostShare])
		}
	}
	if most == 0 {
		return
	}
	xStep, yStep := niceStep(most, 6), niceStep(worst, 5)
	xMost, yMost := math.Ceil(most/xStep)*xStep, math.Ceil(worst/yStep)*yStep
	at := func(p point) (float64, float64) {
		return left + p.rate/xMost*plotWidth, top + plotHeight*(1-p.lost/yMost)
	}
	for v := 0.0; v <= xMost*1.001; v += xStep {
		x, y := at(point{v, 0})
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%.1f" stroke="#e0e0e0"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x, top, x, y, x, y+18, report.Number(v/1000))
	}
	for v := 0.0; v <= yMost*1.001; v += yStep {
		x, y := at(point{0, v})
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%d" y2="%.1f" stroke="#e0e0e0"/><text x="%.1f" y="%.1f" text-anchor="end">%s%%</text>`+"\n", x, y, left+plotWidth, y, x-6, y+4, strconv.FormatFloat(100*v, 'g', 3, 64))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">thousand frames/s</text>`+"\n", left+plotWidth/2, panelHeight-8)
	legend := left
	for _, peer := range []string{ours, rsyslog, syslogng} {
		list := points[peer]
		if list == nil {
			continue
		}
		slices.SortFunc(list, func(p, q point) int { return int(p.rate - q.rate) })
		for _, p := range list {
			x, y := at(p)
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s" fill-opacity="0.8"/>`, x, y, colours[peer])
		}
		fmt.Fprintf(b, `<circle cx="%d" cy="36" r="5" fill="%s"/><text x="%d" y="40">%s</text>`+"\n", legend+6, colours[peer], legend+16, peer)
		legend += 110
	}
}

// niceStep is 1, 2 or 5 times a power of ten, such that about n steps make most.
func niceStep(most float64, n int) float64 {
	raw := most / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, s := range []float64{1, 2, 5} {
		if s*power >= raw {
			return s * power
		}
	}
	return 10 * power
}
