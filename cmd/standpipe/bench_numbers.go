package main

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// benchReport is all that was measured. It is what --json prints: times are in microseconds.
type benchReport struct {
	Time    time.Time      `json:"time"`
	Machine benchMachine   `json:"machine"`
	Rounds  int            `json:"rounds"`
	Sizes   []int          `json:"sizes"`
	Ways    []benchLabel   `json:"ways"`
	Cells   []*benchCell   `json:"cells"` // by size, and by way
	Left    []benchLeft    `json:"left_out,omitempty"`
	Notes   []string       `json:"notes,omitempty"`
	Advice  []benchAdvised `json:"advice"`
}

type benchMachine struct {
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	CPUs  int    `json:"cpus"`
	Model string `json:"model,omitempty"`
	Go    string `json:"go"`
}

// newBenchMachine is this one. What the program was built for is what its build says.
func newBenchMachine() benchMachine {
	m := benchMachine{OS: "?", Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Model: benchModel(), Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "GOOS" {
				m.OS = s.Value
			}
		}
	}
	return m
}

func (m benchMachine) String() string {
	model := m.Model
	if model == "" {
		model = m.Arch
	}
	return fmt.Sprintf("%s/%s, %d CPUs (%s), %s", m.OS, m.Arch, m.CPUs, model, m.Go)
}

// benchLabel is a way as a report names it.
type benchLabel struct {
	Name  string `json:"name"`
	Label string `json:"label"`
	Note  string `json:"note"`
	calls bool
	own   bool
}

// benchLeft is what was not measured, and why. Size is 0 where it is the whole way.
type benchLeft struct {
	Way  string `json:"way"`
	Size int    `json:"size,omitempty"`
	Why  string `json:"why"`
}

// benchCell is a way and a size: the medians of the rounds, and for processor time the mean of all.
type benchCell struct {
	Way    string    `json:"way"`
	Size   int       `json:"size"`
	Trip   benchTrip `json:"round_trip"`
	Flow   benchFlow `json:"one_way"`
	Spread float64   `json:"spread"` // the median round trip of the slowest round, by that of the fastest

	trips []benchTrip // of each round
	flows []benchFlow
}

// benchTrip is round trips, one at a time. A quantile is 0 where a round had too few of them to tell.
type benchTrip struct {
	Count int       `json:"count"`
	P50   float64   `json:"p50_us"`
	P90   float64   `json:"p90_us,omitempty"`
	P99   float64   `json:"p99_us,omitempty"`
	P999  float64   `json:"p999_us,omitempty"`
	CPU   float64   `json:"cpu_us"`   // of both processes, for each
	Curve []float64 `json:"curve_us"` // at the quantiles of benchTail
}

// benchFlow is messages one way, as fast as they can be sent.
type benchFlow struct {
	Count int     `json:"count"`
	Rate  float64 `json:"messages_per_s"`
	Bytes float64 `json:"bytes_per_s"`
	CPU   float64 `json:"cpu_us"` // of both processes, for each
}

// benchTail is the part of all round trips that took longer than the i-th point of a curve says: 1, 0.56, 0.32, 0.18, 0.1 ...
func benchTail(i int) float64 { return math.Pow(10, -float64(i)/4) }

const benchCurve = 17 // points, to 1 in 10000

// newBenchTrip sorts times, of which there is one at least.
func newBenchTrip(times []time.Duration, cpu time.Duration, n int) benchTrip {
	slices.Sort(times)
	t := benchTrip{Count: n, CPU: inMicros(cpu) / float64(n)}
	at := func(tail float64) float64 {
		// One behind the quantile at least, or it is only the longest time that there happened to be. (The sum guards against 0.1 not being 1/10.)
		if tail < 0.5 && tail*float64(len(times)) < 1-1e-9 {
			return 0
		}
		return inMicros(times[min(int((1-tail)*float64(len(times))+1e-9), len(times)-1)])
	}
	t.P50, t.P90, t.P99, t.P999 = at(0.5), at(0.1), at(0.01), at(0.001)
	for i := range benchCurve {
		v := at(benchTail(i))
		if v == 0 && i > 0 {
			break
		}
		t.Curve = append(t.Curve, v)
	}
	return t
}

func newBenchFlow(size, n int, took, cpu time.Duration) benchFlow {
	rate := float64(n) / max(took, 1).Seconds()
	return benchFlow{Count: n, Rate: rate, Bytes: rate * float64(size), CPU: inMicros(cpu) / float64(n)}
}

// merge makes the medians of the rounds. A quantile needs all of them.
func (c *benchCell) merge() {
	c.Trip, c.Flow = benchTrip{}, benchFlow{}
	of := func(value func(t benchTrip) float64) float64 {
		var list []float64
		for _, t := range c.trips {
			list = append(list, value(t))
		}
		if slices.Contains(list, 0) {
			return 0
		}
		return benchMedian(list)
	}
	points, fastest, slowest := benchCurve, math.Inf(1), 0.0
	for _, t := range c.trips {
		points = min(points, len(t.Curve))
		c.Trip.CPU = benchMean(c.Trip.CPU, c.Trip.Count, t.CPU, t.Count)
		c.Trip.Count += t.Count
		fastest, slowest = min(fastest, t.P50), max(slowest, t.P50)
	}
	c.Spread = slowest / max(fastest, 1e-3)
	c.Trip.P50 = of(func(t benchTrip) float64 { return t.P50 })
	c.Trip.P90 = of(func(t benchTrip) float64 { return t.P90 })
	c.Trip.P99 = of(func(t benchTrip) float64 { return t.P99 })
	c.Trip.P999 = of(func(t benchTrip) float64 { return t.P999 })
	for i := range points {
		c.Trip.Curve = append(c.Trip.Curve, of(func(t benchTrip) float64 { return t.Curve[i] }))
	}
	var rates []float64
	for _, f := range c.flows {
		c.Flow.CPU = benchMean(c.Flow.CPU, c.Flow.Count, f.CPU, f.Count)
		c.Flow.Count += f.Count
		rates = append(rates, f.Rate)
	}
	c.Flow.Rate = benchMedian(rates)
	c.Flow.Bytes = c.Flow.Rate * float64(c.Size)
}

// benchMean is the mean of n values whose mean is a, and m whose mean is b.
func benchMean(a float64, n int, b float64, m int) float64 {
	if n+m == 0 {
		return 0
	}
	return (a*float64(n) + b*float64(m)) / float64(n+m)
}

// benchMedian is that of a list; of an even number the mean of the two in the middle; of none 0.
func benchMedian(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	n := len(list)
	return (list[n/2] + list[(n-1)/2]) / 2
}

func inMicros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// cell is the one of a way and a size; nil where that was not measured.
func (r *benchReport) cell(way string, size int) *benchCell {
	for _, c := range r.Cells {
		if c.Way == way && c.Size == size {
			return c
		}
	}
	return nil
}

// of are the cells of a size, in the order of the ways.
func (r *benchReport) of(size int) (cells []*benchCell) {
	for _, w := range r.Ways {
		if c := r.cell(w.Name, size); c != nil {
			cells = append(cells, c)
		}
	}
	return cells
}

func (r *benchReport) way(name string) benchLabel {
	i := slices.IndexFunc(r.Ways, func(w benchLabel) bool { return w.Name == name })
	return r.Ways[i]
}

// sort puts the cells in order.
func (r *benchReport) sort() {
	place := map[string]int{}
	for i, w := range r.Ways {
		place[w.Name] = i
	}
	slices.SortFunc(r.Cells, func(a, b *benchCell) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(place[a.Way], place[b.Way]))
	})
}

var benchUnits = []struct {
	text  string
	bytes int
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// benchSize is a size in words: 4 KiB, 1.5 KiB, 100 B.
func benchSize(n int) string {
	for _, u := range benchUnits {
		if n >= u.bytes {
			return strconv.FormatFloat(float64(n)/float64(u.bytes), 'f', -1, 64) + " " + u.text
		}
	}
	return "0 B"
}

// parseBenchSizes reads a list such as 64,4KiB,1M, and sorts it.
func parseBenchSizes(text string) (sizes []int, err error) {
	for word := range strings.SplitSeq(text, ",") {
		upper, unit := strings.ToUpper(strings.TrimSpace(word)), 1
		for _, u := range benchUnits {
			name := strings.ToUpper(u.text)
			number, ok := strings.CutSuffix(upper, name)
			if !ok && u.bytes > 1 {
				number, ok = strings.CutSuffix(upper, name[:1])
			}
			if ok {
				upper, unit = strings.TrimSpace(number), u.bytes
				break
			}
		}
		n, err := strconv.ParseFloat(upper, 64)
		size := n * float64(unit)
		if err != nil || !(size >= 1 && size <= benchLargest) || size != math.Trunc(size) {
			return nil, usagef("--sizes: %q is no size from 1 B to %s, such as 64, 4KiB or 1M", word, benchSize(benchLargest))
		}
		sizes = append(sizes, int(size))
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}

// benchTime is a time of that many microseconds with its unit, in three digits or so; "-": not known.
func benchTime(us float64) string {
	switch {
	case us <= 0:
		return "-"
	case us < 0.9995:
		return fmt.Sprintf("%.0f ns", us*1e3)
	case us < 999.5:
		return benchDigits(us) + " µs"
	case us < 999.5e3:
		return benchDigits(us/1e3) + " ms"
	}
	return benchDigits(us/1e6) + " s"
}

// benchBytesRate is a rate with its unit.
func benchBytesRate(perSecond float64) string {
	for _, u := range benchUnits {
		if perSecond >= float64(u.bytes) {
			return benchDigits(perSecond/float64(u.bytes)) + " " + u.text + "/s"
		}
	}
	return "-"
}

// benchDigits is a number in three digits, or all that stand before the point.
func benchDigits(v float64) string {
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// benchCount is a count in few letters: 950, 12.3k, 4.56M.
func benchCount(v float64) string {
	switch {
	case v <= 0:
		return "-"
	case v < 999.5:
		return benchDigits(v)
	case v < 999.5e3:
		return benchDigits(v/1e3) + "k"
	}
	return benchDigits(v/1e6) + "M"
}
