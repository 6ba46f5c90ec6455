package report

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"quorate/testing/chaos/model"
	"quorate/testing/chaos/validate"
)

// The sizes of a picture, in pixels.
const (
	width  = 1180.0
	left   = 80.0
	right  = 20.0
	lane   = 18.0
	plot   = 90.0
	spacer = 26.0
	letter = 6.8 // average of a label
)

// strip is the longest time that one picture shows.
const strip = 5 * time.Minute

// colours of the nodes, in their order.
var colours = []string{"#0b6bcb", "#d97706", "#0f8a6a", "#7c3aed", "#b3261e"}

type canvas struct {
	strings.Builder
	from, to time.Duration
	y        float64
}

func (c *canvas) x(at time.Duration) float64 {
	at = min(max(at, c.from), c.to) - c.from
	return left + (width-left-right)*float64(at)/float64(max(c.to-c.from, time.Second))
}

// shows reports whether a picture shows a part of an interval.
func (c *canvas) shows(from, to time.Duration) bool { return from < c.to && to >= c.from }

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(&c.Builder, format, args...) }

func (c *canvas) text(x, y float64, class, anchor, text string) {
	c.add(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, template.HTMLEscapeString(text))
}

func (c *canvas) done() template.HTML {
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %.0f %.0f" width="100%%" role="img">%s</svg>`, width, c.y, c.String()))
}

// timeline draws faults, leader and epoch, and what clients saw, over time: a
// picture for every few minutes.
func timeline(h *model.History) (all template.HTML) {
	parts := max(1, (h.Length+strip-1)/strip)
	each := (h.Length/parts + time.Second).Truncate(time.Second)
	for from := time.Duration(0); from < h.Length; from += each {
		c := &canvas{from: from, to: min(from+each, h.Length), y: 4}
		all += c.timeline(h)
	}
	return all
}

func (c *canvas) timeline(h *model.History) template.HTML {
	var faults []*model.Fault
	for _, f := range h.Faults() {
		if c.shows(f.Start, f.Over) {
			faults = append(faults, f)
		}
	}
	top := c.y
	c.faults(faults)
	c.leader(h)
	c.series(h, "checks/s", func(s model.Second) float64 { return float64(s.Checks - s.Failed) }, "%.0f")
	c.series(h, "slowest, ms", func(s model.Second) float64 { return min(1000, float64(s.Slowest)/float64(time.Millisecond)) }, "%.0f")
	c.series(h, "entries/s", func(s model.Second) float64 { return float64(s.Writes) }, "%.0f")
	for _, f := range faults { // a shadow over everything below
		c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#b3261e" opacity="0.05"/>`, c.x(f.Start), top, max(1, c.x(f.Over)-c.x(f.Start)), c.y-top-spacer)
	}
	step := time.Duration(1)
	for _, s := range []time.Duration{1, 5, 10, 30, 60} {
		if step = s * time.Second; (c.to-c.from)/step <= 20 {
			break
		}
	}
	for at := (c.from + step - 1).Truncate(step); at <= c.to; at += step {
		c.text(c.x(at), c.y-8, "", "middle", fmt.Sprintf("%.0f s", at.Seconds()))
	}
	return c.done()
}

// taken is the used part of a lane.
type taken struct{ from, to float64 }

// faults draws a bar for each fault, in as few lanes as their names need.
func (c *canvas) faults(faults []*model.Fault) {
	var lanes [][]taken
	for _, f := range faults {
		from, to := c.x(f.Start), max(c.x(f.Over), c.x(f.Start)+3)
		label := f.Name + " " + strings.Join(f.Nodes, " ")
		long := letter * float64(len(label))
		anchor, x, need := "start", from+3, taken{from, max(to, from+long) + 6}
		if from+long > width {
			anchor, x, need = "end", from-3, taken{from - long - 6, to + 6}
		}
		at := slices.IndexFunc(lanes, func(all []taken) bool {
			return !slices.ContainsFunc(all, func(t taken) bool { return t.from < need.to && need.from < t.to })
		})
		if at < 0 {
			at = len(lanes)
			lanes = append(lanes, nil)
		}
		lanes[at] = append(lanes[at], need)
		y := c.y + float64(at)*lane
		colour := "#b3261e"
		if f.Kind == model.Move {
			colour = "#7a8592"
		}
		c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" fill="%s" opacity="0.25"><title>%s</title></rect>`, from, y, to-from, lane-4, colour, template.HTMLEscapeString(label+" "+f.Note))
		c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" fill="%s" opacity="0.7"/>`, from, y, max(2, c.x(f.Heal)-from), lane-4, colour)
		c.text(x, y+11, "strong", anchor, label)
	}
	c.text(left-8, c.y+11, "strong", "end", "faults")
	c.y += float64(max(1, len(lanes)))*lane + 10
}

// leader draws the leader, and marks each change of the map.
func (c *canvas) leader(h *model.History) {
	c.text(left-8, c.y+11, "strong", "end", "leader")
	var first, last *model.View
	for i, v := range h.Views {
		to := h.Length
		if i+1 < len(h.Views) {
			to = h.Views[i+1].At
		}
		if !c.shows(v.At, to) {
			continue
		}
		if last = &v; first == nil {
			first = &v
		}
		colour, label := "#d9dee4", ""
		if at := slices.Index(h.Nodes, v.Leader); at >= 0 {
			colour = colours[at%len(colours)]
		} else if v.Leader != "" {
			colour = "#444"
		}
		if i == 0 || h.Views[i-1].Leader != v.Leader || first == last {
			label = v.Leader
		}
		c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s, epoch %d</title></rect>`, c.x(v.At), c.y, max(0.5, c.x(to)-c.x(v.At)), lane-4, colour, v.Leader, v.Epoch)
		if label != "" {
			c.add(`<text x="%.1f" y="%.1f" style="fill:#fff">%s</text>`, c.x(v.At)+3, c.y+11, label)
		}
		if i > 0 && h.Views[i-1].Epoch != v.Epoch && v.At >= c.from {
			c.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#1b1f24" stroke-width="1"/>`, c.x(v.At), c.x(v.At), c.y+lane-4, c.y+lane+2)
		}
	}
	c.y += lane
	if first != nil {
		c.text(left, c.y+14, "", "start", fmt.Sprintf("epochs %d to %d of the ownership map, a mark for each change", first.Epoch, last.Epoch))
	}
	c.y += spacer + 12
}

// series draws a number of each node over time.
func (c *canvas) series(h *model.History, title string, value func(model.Second) float64, format string) {
	most := 1.0
	for _, list := range h.Seconds {
		for _, s := range list {
			most = max(most, value(s))
		}
	}
	c.text(left-8, c.y+4, "", "end", fmt.Sprintf(format, most))
	c.text(left-8, c.y+plot/2, "strong", "end", strings.SplitN(title, ",", 2)[0])
	if _, unit, ok := strings.Cut(title, ","); ok {
		c.text(left-8, c.y+plot/2+13, "", "end", unit)
	}
	c.text(left-8, c.y+plot, "", "end", "0")
	c.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#d9dee4"/>`, left, width-right, c.y+plot, c.y+plot)
	c.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#eef1f4"/>`, left, width-right, c.y, c.y)
	for i, node := range h.Nodes {
		var points []string
		list := h.Seconds[node]
		for at := int(c.from / time.Second); at < int(c.to/time.Second); at++ {
			var s model.Second
			if at < len(list) {
				s = list[at]
			}
			points = append(points, fmt.Sprintf("%.1f,%.1f", c.x(time.Duration(at)*time.Second+time.Second/2), c.y+plot-plot*value(s)/most))
		}
		c.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.4"><title>%s</title></polyline>`, strings.Join(points, " "), colours[i%len(colours)], node)
		c.add(`<text x="%.1f" y="%.1f" text-anchor="end" style="fill:%s">%s</text>`, width-right-float64(len(h.Nodes)-1-i)*26, c.y-4, colours[i%len(colours)], node)
	}
	c.y += plot + spacer
}

// costs draws the over-admission of each fault and its bound.
func costs(all []validate.Cost) template.HTML {
	c := &canvas{y: 4}
	most := 10.0
	for _, one := range all {
		most = max(most, one.Over, one.Bound)
	}
	const from = 240.0
	scale := func(v float64) float64 { return from + (width-from-120)*min(1, max(0, v)/most) }
	for _, one := range all {
		colour := "#0b6bcb"
		if one.Over > one.Bound+1e-6 {
			colour = "#b3261e"
		}
		c.text(from-8, c.y+11, "strong", "end", one.Fault.Name+" "+strings.Join(one.Fault.Nodes, " "))
		c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#eef1f4"/>`, from, c.y, scale(one.Bound)-from, lane-4)
		c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, from, c.y+3, scale(one.Over)-from, lane-10, colour)
		c.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#1b1f24" stroke-width="2"/>`, scale(one.Bound), scale(one.Bound), c.y-1, c.y+lane-3)
		c.text(scale(max(one.Over, one.Bound))+8, c.y+11, "", "start", fmt.Sprintf("%.1f of %.1f", max(0, one.Over), one.Bound))
		c.y += lane
	}
	c.y += 4
	return c.done()
}
