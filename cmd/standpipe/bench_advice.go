package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// benchAdvised is what to take for messages of a size.
type benchAdvised struct {
	Size int    `json:"size"`
	Text string `json:"text"`
}

const (
	benchEven     = 1.1 // times as good is no difference
	benchUnsteady = 1.5 // times the fastest round is said
	benchBusyFrom = 0.1 // of all processors
)

// noteBusy says how much of the machine others have used, where that is known.
func (m *benchMeter) noteBusy(known bool, foreign, wall time.Duration) {
	others := float64(foreign) / float64(max(wall, 1))
	if known && others > benchBusyFrom*float64(m.r.Machine.CPUs) {
		m.r.Notes = append(m.r.Notes, fmt.Sprintf("The machine was busy: other programs used %.1f of its %d CPUs meanwhile. Times are longer than they need be, above all p99 and p99.9: "+
			"measure again when it is quiet.", others, m.r.Machine.CPUs))
	}
	if enough() > 0 {
		m.r.Notes = append(m.r.Notes, fmt.Sprintf("The clock of this system goes on by %v at a time: shorter round trips are the mean of several, so their p90 to p99.9 are lower than they are.", tick))
	}
}

// noteUnsteady says where the rounds do not agree.
func (m *benchMeter) noteUnsteady() {
	var where []string
	for _, c := range m.r.Cells {
		if c.Spread > benchUnsteady {
			where = append(where, fmt.Sprintf("%s at %s (%.1f times)", m.r.way(c.Way).Label, benchSize(c.Size), c.Spread))
		}
	}
	const most = 4
	if more := len(where) - most; more > 0 {
		where = append(where[:most], fmt.Sprintf("%d more", more))
	}
	if len(where) > 0 {
		m.r.Notes = append(m.r.Notes, "The median of one round was far above another's: "+strings.Join(where, ", ")+".")
	}
}

// advise is a line for each size.
func (r *benchReport) advise() (list []benchAdvised) {
	for _, size := range r.Sizes {
		if cells := r.of(size); len(cells) > 0 {
			list = append(list, benchAdvised{size, r.adviseOn(size, cells)})
		}
	}
	return list
}

// adviseOn names the quickest way; the quickest with calls, where that is another; and the one with the highest rate.
func (r *benchReport) adviseOn(size int, cells []*benchCell) string {
	trip := func(c *benchCell) float64 { return c.Trip.P50 }
	var b strings.Builder
	fmt.Fprintf(&b, "For your %s messages: ", benchSize(size))
	quick := r.best(cells, trip)
	withCalls := slices.DeleteFunc(slices.Clone(cells), func(c *benchCell) bool { return !r.way(c.Way).calls })
	chosen := quick
	fmt.Fprintf(&b, "%s. A round trip takes %s", r.way(quick.Way).Label, r.tripText(quick))
	if !r.way(quick.Way).calls && len(withCalls) > 0 {
		chosen = r.best(withCalls, trip)
		fmt.Fprintf(&b, "; but it carries bytes only. With calls: %s, %s", r.way(chosen.Way).Label, r.tripText(chosen))
	}
	b.WriteString(r.comparison(chosen, withCalls))
	fast := r.best(cells, func(c *benchCell) float64 { return 1 / c.Flow.Rate })
	if fast == chosen || chosen.Flow.Rate*benchEven >= fast.Flow.Rate {
		fmt.Fprintf(&b, " One way it moves %s.", benchFlowText(chosen))
	} else {
		fmt.Fprintf(&b, " One way it moves %s; %s is best at that: %s.", benchFlowText(chosen), r.way(fast.Way).Label, benchFlowText(fast))
	}
	return b.String()
}

// best is the cell with the least cost. Of those that are about even, it is ours, or one with calls: the first one of the table.
func (r *benchReport) best(cells []*benchCell, cost func(*benchCell) float64) *benchCell {
	least := cost(slices.MinFunc(cells, func(a, b *benchCell) int {
		if cost(a) < cost(b) {
			return -1
		}
		return 1
	}))
	even := slices.DeleteFunc(slices.Clone(cells), func(c *benchCell) bool { return cost(c) > least*benchEven })
	for _, preferred := range []func(benchLabel) bool{func(w benchLabel) bool { return w.own }, func(w benchLabel) bool { return w.calls }} {
		for _, c := range even {
			if preferred(r.way(c.Way)) {
				return c
			}
		}
	}
	return even[0]
}

func (r *benchReport) tripText(c *benchCell) string {
	if c.Trip.P99 == 0 {
		return benchTime(c.Trip.P50)
	}
	return fmt.Sprintf("%s (p99 %s)", benchTime(c.Trip.P50), benchTime(c.Trip.P99))
}

// comparison says how much longer the others with calls take that are not ours.
func (r *benchReport) comparison(chosen *benchCell, cells []*benchCell) string {
	var list []string
	for _, c := range cells {
		if w := r.way(c.Way); !w.own && c != chosen {
			name, _, _ := strings.Cut(w.Label, " on ")
			list = append(list, fmt.Sprintf("%s %s times", name, benchDigits(c.Trip.P50/chosen.Trip.P50)))
		}
	}
	if len(list) == 0 {
		return "."
	}
	return "; " + strings.Join(list, ", ") + " as long."
}

// benchFlowText is a rate in bytes, and in messages where those are small.
func benchFlowText(c *benchCell) string {
	if c.Size < 64<<10 {
		return fmt.Sprintf("%s (%s messages/s)", benchBytesRate(c.Flow.Bytes), benchCount(c.Flow.Rate))
	}
	return benchBytesRate(c.Flow.Bytes)
}
