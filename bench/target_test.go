package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// shared makes a result of what is measured of shared memory.
func shared(v float64) *result {
	l := &latency{P50: v, P99: 10 * v}
	return &result{
		Loaded: &loaded{Latency: l, Concurrent: &concurrent{Rate: 1000 * v}},
		Carry:  &carry{P50: 3 * v, P99: 4 * v, Plain: v, Bytes: 300e6},
		Bulk:   map[string]*throughput{"1 MiB": {Rate: v}},
	}
}

func TestMediansShared(t *testing.T) {
	first := shared(2)
	first.Quiet = &quiet{Connections: 100, CPU: 500, Server: 20, Client: 30}
	m := medians([]*result{first, nil, shared(8), shared(4)})
	for what, c := range map[string]struct {
		f    figure
		want float64
	}{"p50": {loadedP50, 4}, "p99": {loadedP99, 40}, "rate": {loadedRate, 4000}, "carried": {carryP50, 12}, "times": {carryTimes, 3}, "one way": {bulkRate(1 << 20), 4},
		"quiet CPU of each": {quietCPU, 5}, "quiet memory": {quietMemory, 50}} {
		if got, ok := c.f(m); !ok || got != c.want {
			t.Errorf("%s: %v, %v, not %v", what, got, ok, c.want)
		}
	}
	if m.Carry.Bytes != 300e6 || m.Quiet.Connections != 100 {
		t.Errorf("%+v, %+v", m.Carry, m.Quiet)
	}
}

// What a target reaches is compared within each round, or is the number itself; with both processes on one CPU it is of rounds of its own.
func TestReached(t *testing.T) {
	r := newReport(settings{})
	for i, v := range []float64{1, 2, 3} {
		r.add(floor, i, shared(v))
		r.add("we", i, shared(v*float64(i+1)))
		r.Pinned[floor] = place(r.Pinned[floor], i, shared(1))
		r.Pinned["we"] = place(r.Pinned["we"], i, shared(0.5))
	}
	for what, c := range map[string]struct {
		target target
		want   []float64
	}{
		"times":  {target{of: "we", f: loadedP50, base: floor, g: loadedP50}, []float64{1, 2, 3}},
		"beyond": {target{of: "we", f: loadedP50, base: floor, g: loadedP50, beyond: true}, []float64{0, 2, 6}},
		"itself": {target{of: "we", f: carryTimes}, []float64{3, 3, 3}},
		"pinned": {target{of: "we", f: loadedP50, base: floor, g: loadedP50, pinned: true}, []float64{0.5, 0.5, 0.5}},
		"nobody": {target{of: "who", f: carryTimes, base: floor, g: carryTimes}, nil},
		"part":   {target{of: "we", f: quietCPU, base: floor, g: quietCPU}, nil},
	} {
		if got := r.reached(c.target); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", what, got, c.want)
		}
	}
	for _, c := range []struct {
		target target
		v      float64
		met    bool
	}{
		{target{wanted: 3}, 3, true}, {target{wanted: 3}, 3.01, false}, {target{wanted: 3}, -1, true},
		{target{wanted: 3, least: true}, 3, true}, {target{wanted: 3, least: true}, 2.99, false},
	} {
		if c.target.met(c.v) != c.met {
			t.Errorf("%v of %+v", c.v, c.target)
		}
	}
}

// What was not measured is said where the targets were asked for, and left out otherwise.
func TestTargetsTable(t *testing.T) {
	r := newReport(settings{targets: true})
	for name, v := range map[string]float64{floor: 100, "standpipe": 5, "standpipe-raw": 4, "memory": 3} {
		r.add(name, 0, rounds(v)[0])
	}
	var out strings.Builder
	r.targets().markdown(&out)
	for _, want := range []string{"| standpipe | unix | ≤ 0.060 | 0.050 | 0.050 to 0.050 | 0.030, 0.030 to 0.030 | yes |",
		"| standpipe-raw | unix | ≤ 0.030 | 0.040 | 0.040 to 0.040 | 0.030, 0.030 to 0.030 | **no** |", "| standpipe-raw | shmipc-go | ≥ 1.50 | – | – | – | not measured |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
	if got := len(r.targets().rows); got != len(targets()) {
		t.Errorf("%d rows for %d targets", got, len(targets()))
	}
	r.asked = false
	if got := len(r.targets().rows); got != 2 {
		t.Errorf("%d rows, not 2", got)
	}
}

// What moving the bytes takes stands beside those targets that are about it, of the same rounds, and nothing where nobody has measured it.
func TestAlone(t *testing.T) {
	moved := func(v float64) *result { // all that memory measures
		return &result{Latency: map[string]*latency{"64 B": {P50: v}}, Bulk: map[string]*throughput{"1 MiB": {Rate: v}, "64 MiB": {Rate: v}}}
	}
	all := func(v float64) *result {
		res := shared(v)
		res.Latency, res.Bulk = moved(v).Latency, moved(v).Bulk
		return res
	}
	r := newReport(settings{})
	for i, v := range []float64{4, 5} {
		r.add(floor, i, all(v))
		r.add("shmipc-go", i, all(2*v))
		r.Pinned[floor] = place(r.Pinned[floor], i, all(v))
	}
	for _, g := range targets() {
		if got := r.alone(g); got != nil {
			t.Errorf("%s of %s: %v", g.what, g.of, got)
		}
	}
	for i, v := range []float64{8, 20} {
		r.add(alone, i, moved(v))
		r.Pinned[alone] = place(r.Pinned[alone], i, moved(2*v))
	}
	about := map[string]int{lonely: 3, "64-byte call, both processes on one CPU: p50": 1, "1 MiB one way: bytes/s": 4, "64 MiB one way: bytes/s": 2}
	told := map[string]int{}
	for _, g := range targets() {
		var want []float64
		switch {
		case g.pinned:
			want = []float64{4, 8}
		case about[g.what] > 0 && g.base == floor:
			want = []float64{2, 4}
		case about[g.what] > 0:
			want = []float64{1, 2}
		}
		got := r.alone(g)
		if !slices.Equal(got, want) {
			t.Errorf("%s of %s: %v, not %v", g.what, g.of, got, want)
		}
		if got != nil {
			told[g.what]++
		}
	}
	if !maps.Equal(told, about) {
		t.Errorf("it is told of %v", told)
	}
}

// All contenders of the targets are there, but for those that are on Linux only.
func TestTargetContenders(t *testing.T) {
	for _, g := range targets() {
		for _, name := range []string{g.of, g.base} {
			if name != "" && name != "shmipc-go" && contenders[name] == nil {
				t.Errorf("%s: there is no %s", g.what, name)
			}
		}
	}
	if got := targetContenders(); !slices.Contains(got, floor) || !slices.Contains(got, "standpipe") || slices.Contains(got, "") {
		t.Errorf("%q", got)
	}
}

func TestFitting(t *testing.T) {
	sizes := []int{64, largest, 300e6}
	for what, c := range map[string]struct {
		c    contender
		want []int
	}{"any": {contender{}, sizes[:2]}, "huge": {contender{huge: true}, sizes}, "small": {contender{max: 1 << 20}, sizes[:1]}, "both": {contender{max: 1 << 20, huge: true}, sizes[:1]}} {
		m := &measurement{c: &c.c}
		if got := m.fitting(sizes); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", what, got, c.want)
		}
	}
	for what, c := range map[string]struct {
		c    contender
		part string
		want bool
	}{"all": {contender{}, partIdle, true}, "no idle": {contender{noIdle: true}, partIdle, false}, "no quiet": {contender{noIdle: true}, partQuiet, false},
		"its own": {contender{parts: partBulk}, partBulk, true}, "another": {contender{parts: partBulk}, partLatency, false}} {
		if c.c.takes(c.part) != c.want {
			t.Errorf("%s: not %v", what, c.want)
		}
	}
}

// A copy in memory is measured for each size of the table, once, and stands beside it.
func TestMemcpy(t *testing.T) {
	p := plan{Parts: partBulk, Bulk: []int{1 << 20, 128}}
	if got, want := p.copySizes(), []int{128, 4 << 10, 64 << 10, 1 << 20, 64 << 20}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	r := newReport(settings{plan: p})
	if row := r.memcpy(); row != nil {
		t.Errorf("without a measure: %q", row)
	}
	r.Copies = map[string]float64{"1 MiB": 20, "128 B": 40}
	r.add(floor, 0, shared(5))
	if row, want := r.memcpy(), []string{"*memcpy*", "memory", "20.0", "4.00", none, none, "40.0", none, none, none}; !slices.Equal(row, want) {
		t.Errorf("%q, not %q", row, want)
	}
}
