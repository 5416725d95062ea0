package report

import (
	"fmt"
	"math"
)

// Goal is a figure that was set, what was measured, and whether that keeps it.
type Goal struct {
	Name     string  `json:"name"`
	Limit    float64 `json:"limit"`
	AtLeast  bool    `json:"at_least"` // the limit is the least allowed; else the most
	Unit     string  `json:"unit"`
	Measured bool    `json:"measured"`
	Value    float64 `json:"value"`
	Met      bool    `json:"met"`
}

// Gap says by how much a goal is missed.
func (g Goal) Gap() string {
	switch {
	case !g.Measured:
		return "not measured"
	case g.Met:
		return "yes"
	case g.Limit == 0:
		return fmt.Sprintf("no: %s more", Number(g.Value))
	case g.AtLeast:
		return fmt.Sprintf("no: %.0f%% short", math.Ceil(100*(1-g.Value/g.Limit)))
	default:
		return fmt.Sprintf("no: %.0f%% over", math.Ceil(100*(g.Value/g.Limit-1)))
	}
}

// Bound is the limit as a text.
func (g Goal) Bound() string {
	word := "at most"
	if g.AtLeast {
		word = "at least"
	}
	return fmt.Sprintf("%s %s %s", word, Number(g.Limit), g.Unit)
}

// AtMost sets a goal that a figure must not exceed; ok says whether it was measured.
func (r *Report) AtMost(name string, limit float64, unit string, value float64, ok bool) {
	r.Goals = append(r.Goals, Goal{Name: name, Limit: limit, Unit: unit, Measured: ok, Value: value, Met: ok && value <= limit})
}

// AtLeast sets a goal that a figure must reach.
func (r *Report) AtLeast(name string, limit float64, unit string, value float64, ok bool) {
	r.Goals = append(r.Goals, Goal{Name: name, Limit: limit, AtLeast: true, Unit: unit, Measured: ok, Value: value, Met: ok && value >= limit})
}
