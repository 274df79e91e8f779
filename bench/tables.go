package main

import (
	"fmt"
	"io"
	"slices"
)

// The figures that tables show.

func p50(n int) figure {
	return ofLatency(n, func(l *latency) float64 { return l.P50 })
}

func p99(n int) figure {
	return ofLatency(n, func(l *latency) float64 { return l.P99 })
}

func ofLatency(n int, f func(*latency) float64) figure {
	return func(r *result) (float64, bool) {
		if l := r.Latency[size(n)]; l != nil {
			return f(l), true
		}
		return 0, false
	}
}

func ofPaced(f func(*latency) float64) figure {
	return func(r *result) (float64, bool) {
		if r.Paced == nil {
			return 0, false
		}
		return f(r.Paced), true
	}
}

func ofConcurrent(f func(*concurrent) float64) figure {
	return func(r *result) (float64, bool) {
		if r.Concurrent == nil {
			return 0, false
		}
		return f(r.Concurrent), true
	}
}

func ofBulk(n int, f func(*throughput) float64) figure {
	return func(r *result) (float64, bool) {
		if b := r.Bulk[size(n)]; b != nil {
			return f(b), true
		}
		return 0, false
	}
}

func ofIdle(f func(*idle) float64) figure {
	return func(r *result) (float64, bool) {
		if r.Idle == nil {
			return 0, false
		}
		return f(r.Idle), true
	}
}

var (
	pacedP50 = ofPaced(func(l *latency) float64 { return l.P50 })
	rate     = ofConcurrent(func(c *concurrent) float64 { return c.Rate })
	rateCPU  = ofConcurrent(func(c *concurrent) float64 { return c.CPU })
	memory   = ofIdle(func(i *idle) float64 { return i.Server + i.Client })
)

func bulkRate(n int) figure { return ofBulk(n, func(t *throughput) float64 { return t.Rate }) }

// markdown writes all tables.
func (r *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "%s, %s. %d rounds, %v for each measure, CPUs: %s. Medians. × is relative to *%s*, a bare Unix socket.\n",
		r.Time.Format("2006-01-02"), r.Machine, r.Rounds, r.Plan.Duration, r.Pin, floor)
	if most, name := r.foreign(); most > 0.2 {
		fmt.Fprintf(w, "\n**Other processes used up to %.1f CPUs while %s was measured: the numbers are not to be trusted.**\n", most, name)
	}
	if r.Copies != nil {
		fmt.Fprint(w, "\nCopying in memory by one goroutine:")
		for i, n := range r.Plan.copySizes() {
			fmt.Fprintf(w, "%s %s at a time %.1f GiB/s", []string{"", ","}[min(i, 1)], size(n), r.Copies[size(n)])
		}
		fmt.Fprintln(w, ".")
	}
	for _, t := range []*table{r.overview(), r.latencies("p50", p50), r.latencies("p99", p99), r.costs(), r.paced(), r.concurrent(), r.loaded(),
		r.bulk(), r.carry(), r.idle(), r.quiet(), r.targets()} {
		if len(t.rows) > 0 {
			t.markdown(w)
		}
	}
	r.contenders(w)
}

// overview is a line for each contender.
func (r *report) overview() *table {
	t := &table{title: "Overview", text: "In times the floor: the median call of each size with one in flight, the same after a pause, calls per second of many callers, " +
		"and messages one way. The last columns are CPU seconds for a million calls of many callers, and allocations for each call.",
		columns: []string{"contender"}, left: 1}
	for _, n := range r.Plan.Sizes {
		t.columns = append(t.columns, size(n)+" ×")
	}
	t.columns = append(t.columns, "after a pause ×", fmt.Sprintf("%d callers ×", r.Plan.Callers))
	for _, n := range r.Plan.Bulk {
		t.columns = append(t.columns, "one way, "+size(n)+" ×")
	}
	t.columns = append(t.columns, "CPU s/M", "allocs client + server")
	first := r.Plan.Sizes[0]
	for _, c := range r.ordered(1, p50(first)) {
		cells := []string{c.label()}
		for _, n := range r.Plan.Sizes {
			cells = append(cells, r.ratio(c.name, p50(n)))
		}
		cells = append(cells, r.ratio(c.name, pacedP50), r.ratio(c.name, rate))
		for _, n := range r.Plan.Bulk {
			cells = append(cells, r.ratio(c.name, bulkRate(n)))
		}
		l := r.Median[c.name].Latency[size(first)]
		t.row(append(cells, r.value(c.name, rateCPU, number), fmt.Sprintf("%.1f + %.1f", l.ClientAllocs, l.ServerAllocs))...)
	}
	return t
}

// latencies is of calls with one in flight.
func (r *report) latencies(what string, f func(n int) figure) *table {
	t := &table{title: "One caller, " + what, text: "In µs, by the bytes of a message each way.", columns: []string{"contender", "over"}, left: 2}
	for _, n := range r.Plan.Sizes {
		t.columns = append(t.columns, size(n), "×")
	}
	for _, c := range r.ordered(1, f(r.Plan.Sizes[0])) {
		cells := []string{c.label(), c.over}
		for _, n := range r.Plan.Sizes {
			cells = append(cells, r.value(c.name, f(n), number), r.ratio(c.name, f(n)))
		}
		t.row(cells...)
	}
	return t
}

// costs is what a call costs beside the time.
func (r *report) costs() *table {
	n := r.Plan.Sizes[0]
	t := &table{title: "One caller, what a call of " + size(n) + " costs",
		text:    "CPU time and context switches of both processes, and objects on Go's heap.",
		columns: []string{"contender", "rounds' p50 µs", "mean µs", "CPU µs", "×", "switches", "allocs client", "allocs server"}, left: 1}
	cpu := ofLatency(n, func(l *latency) float64 { return l.CPU })
	for _, c := range r.ordered(1, cpu) {
		l := r.Median[c.name].Latency[size(n)]
		t.row(c.label(), r.spread(c.name, p50(n), number), number(l.Mean), number(l.CPU), r.ratio(c.name, cpu), number(l.Switches),
			fmt.Sprintf("%.1f", l.ClientAllocs), fmt.Sprintf("%.1f", l.ServerAllocs))
	}
	return t
}

func (r *report) paced() *table {
	t := &table{title: "A call after a pause",
		text:    fmt.Sprintf("Calls of %s, one each %v: nobody is awake when one comes. CPU time is of both processes.", size(smallCall), pace),
		columns: []string{"contender", "p50 µs", "×", "p99 µs", "CPU µs", "×"}, left: 1}
	tail, cpu := ofPaced(func(l *latency) float64 { return l.P99 }), ofPaced(func(l *latency) float64 { return l.CPU })
	for _, c := range r.ordered(1, pacedP50) {
		t.row(c.label(), r.value(c.name, pacedP50, number), r.ratio(c.name, pacedP50), r.value(c.name, tail, number),
			r.value(c.name, cpu, number), r.ratio(c.name, cpu))
	}
	return t
}

func (r *report) concurrent() *table {
	t := &table{title: fmt.Sprintf("%d callers", r.Plan.Callers),
		text: fmt.Sprintf("Calls of %s. CPU time is of both processes, in seconds for a million calls.", size(smallCall)),
		columns: []string{"contender", "callers share", "calls/s", "×", "rounds' calls/s", "p50 µs", "p99 µs", "CPU s/M", "×", "switches",
			"allocs client", "allocs server"}, left: 2}
	for _, c := range r.ordered(-1, rate) {
		m := r.Median[c.name].Concurrent
		shared := c.shared
		if shared == "" {
			shared = "one connection"
		}
		t.row(c.label(), shared, thousands(m.Rate), r.ratio(c.name, rate), r.spread(c.name, rate, thousands), number(m.P50), number(m.P99),
			number(m.CPU), r.ratio(c.name, rateCPU), number(m.Switches), fmt.Sprintf("%.1f", m.ClientAllocs), fmt.Sprintf("%.1f", m.ServerAllocs))
	}
	return t
}

func (r *report) bulk() *table {
	t := &table{title: "One way", text: "GiB/s; the receiver touches each cache line. *memcpy* is one copy in memory, by one goroutine, measured once. CPU time is of both processes, in seconds for a GiB.",
		columns: []string{"contender", "over"}, left: 2}
	for _, n := range r.Plan.Bulk {
		t.columns = append(t.columns, size(n), "×", "rounds", "CPU s/GiB")
	}
	for _, c := range r.ordered(-1, bulkRate(r.Plan.Bulk[0])) {
		cells := []string{c.label(), c.over}
		for _, n := range r.Plan.Bulk {
			cpu := ofBulk(n, func(t *throughput) float64 { return t.CPU })
			cells = append(cells, r.value(c.name, bulkRate(n), number), r.ratio(c.name, bulkRate(n)), r.spread(c.name, bulkRate(n), number),
				r.value(c.name, cpu, number))
		}
		t.row(cells...)
	}
	if row := r.memcpy(); row != nil && len(t.rows) > 0 {
		t.rows = slices.Insert(t.rows, 0, row)
	}
	return t
}

func (r *report) idle() *table {
	t := &table{title: "Idle connections", text: "Each has made one call, and garbage has been collected since. Resident memory, and the time to connect and make that call.",
		columns: []string{"contender", "connections", "server KiB each", "client KiB each", "×", "server's peak MiB", "client's peak MiB", "µs each"}, left: 1}
	for _, c := range r.ordered(1, memory) {
		i := r.Median[c.name].Idle
		t.row(c.label(), thousands(float64(i.Connections)), number(i.Server), number(i.Client), r.ratio(c.name, memory),
			number(i.ServerPeak), number(i.ClientPeak), number(i.Dial))
	}
	return t
}

// contenders says what was run, and what not.
func (r *report) contenders(w io.Writer) {
	fmt.Fprint(w, "\n## Contenders\n\n")
	for _, c := range slices.SortedFunc(slices.Values(r.run), compare) {
		fmt.Fprintf(w, "- %s: %s\n", c.label(), r.Notes[c.name])
		if why := r.Missing[c.name]; why != "" {
			fmt.Fprintf(w, "  - **left out**: %s\n", why)
		}
		if err := r.Failed[c.name]; err != "" {
			fmt.Fprintf(w, "  - **failed** in a round: %s\n", err)
		}
	}
}
