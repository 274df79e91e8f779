package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
)

// A target is what was set out to be reached, on two CPUs: a number of a contender, or how many times that of another one it is, in the same round.
type target struct {
	what   string
	of     string
	f      figure
	base   string // "": f itself is the number
	g      figure // of base
	wanted float64
	least  bool // more is better
	beyond bool // how much more than base's it is, not how many times
	unit   string
	pinned bool // with both processes on one CPU
}

// targets are those of the ring and of Buffers. Messages are what is copied into the ring, and what is filled into a Buffer; calls are typed ones, and those of rpc.Raw.
func targets() []target {
	call, oneWay, large := p50(smallCall), bulkRate(1<<20), bulkRate(largest)
	cpu := ofPaced(func(l *latency) float64 { return l.CPU })
	var t []target
	most := func(what, of string, f figure, base string, g figure, wanted float64) {
		t = append(t, target{what: what, of: of, f: f, base: base, g: g, wanted: wanted})
	}
	least := func(what, of string, f figure, base string, g figure, wanted float64) {
		t = append(t, target{what: what, of: of, f: f, base: base, g: g, wanted: wanted, least: true})
	}
	most(lonely, "standpipe", call, floor, call, 0.06)
	most(lonely, "standpipe-gen", call, floor, call, 0.06)
	most(lonely, "standpipe-raw", call, floor, call, 0.03)
	most("64-byte call, both processes on one CPU: p50", "standpipe", call, floor, call, 0.3)
	t[len(t)-1].pinned = true
	for _, of := range []string{"standpipe", "standpipe-gen", "standpipe-raw"} {
		least("many callers: calls/s", of, rate, "grpc-go", rate, 25)
		least("many callers: calls/s", of, rate, "shmipc-go", rate, 1.5)
	}
	for _, of := range []string{"standpipe-raw", "standpipe-buffer"} {
		least("1 MiB one way: bytes/s", of, oneWay, floor, oneWay, 4)
		least("1 MiB one way: bytes/s", of, oneWay, "shmipc-go", oneWay, 1.7)
		least("64 MiB one way: bytes/s", of, large, floor, large, 5)
	}
	most("call that carries 300 MB, times one that does not: p50", "standpipe-buffer", carryTimes, "", nil, 3)
	most("call after a pause of 1 ms: p50", "standpipe", pacedP50, floor, pacedP50, 1)
	most("call after a pause of 1 ms: CPU time", "standpipe", cpu, floor, cpu, 1)
	t = append(t, target{what: "quiet connection with its ring: CPU time a second, beyond", of: "standpipe", f: quietCPU, base: floor, g: quietCPU,
		wanted: quietWanted, beyond: true, unit: " µs"})
	most("while others compute, one caller: p50", "standpipe", loadedP50, floor, loadedP50, 1.5)
	most("while others compute, one caller: p99", "standpipe", loadedP99, floor, loadedP99, 1.5)
	least("while others compute, many callers: calls/s", "standpipe", loadedRate, "standpipe-off", loadedRate, 1)
	t = append(t, target{what: "quiet connection with its ring: memory at both sides", of: "standpipe", f: quietMemory, wanted: 100, unit: " KiB"})
	return t
}

const (
	lonely = "64-byte call, one caller: p50"
	alone  = "memory"
)

// quietWanted is none at all, but for what can't be told from Go's runtime, which looks around now and then: looking for a message once a
// millisecond would take a thousand times that.
const quietWanted = 5

// targetContenders are those that this system has of whom the targets are about, and two that show what the processor and the ring take of that.
func targetContenders() []string {
	names := map[string]bool{}
	for _, name := range []string{alone, "ring"} {
		names[name] = contenders[name] != nil
	}
	for _, t := range targets() {
		for _, name := range []string{t.of, cmp.Or(t.base, t.of)} {
			names[name] = contenders[name] != nil
		}
	}
	maps.DeleteFunc(names, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(names))
}

// pin measures small calls with both processes on one CPU, of those that a target wants that of.
func (r *report) pin(ctx context.Context, s settings, c *contender, round int) {
	wanted := slices.ContainsFunc(targets(), func(t target) bool {
		return t.pinned && slices.Contains([]string{t.of, t.base, alone}, c.name)
	})
	if !wanted || !s.has(partLatency) {
		return
	}
	p := s.plan
	p.Parts, p.Sizes = partLatency, []int{smallCall}
	res, err := runPair(ctx, c, p, pinSame)
	if err != nil {
		r.Failed[c.name] = err.Error()
		return
	}
	r.Pinned[c.name] = place(r.Pinned[c.name], round, res)
}

// reached are the numbers of a target, one of each round that has it.
func (r *report) reached(t target) []float64 {
	from := r.from(t)
	if t.base == "" {
		return values(from[t.of], t.f)
	}
	how := times
	if t.beyond {
		how = func(v, base float64) float64 { return v - base }
	}
	return compared(from[t.of], from[t.base], t.f, t.g, how)
}

func (r *report) from(t target) map[string][]*result {
	if t.pinned {
		return r.Pinned
	}
	return r.Results
}

// alone is what the machine reaches of a target where nobody is in its way, one number of each round. Of what is not about moving the bytes it measures nothing.
func (r *report) alone(t target) []float64 {
	return compared(r.from(t)[alone], r.from(t)[t.base], t.f, t.g, times)
}

func (t target) met(v float64) bool {
	if t.least {
		return v >= t.wanted
	}
	return v <= t.wanted
}

// targets says what is reached of those targets that were measured; and where they are what was asked for, what was not measured, too.
func (r *report) targets() *table {
	t := &table{title: "Targets", text: fmt.Sprintf("The median of the rounds, each compared within itself, and the least and the most. Many callers are %d. The machine alone is *memory*, "+
		"two processes that do nothing but hand the bytes to each other: nobody can do better.", r.Plan.Callers),
		columns: []string{"", "contender", "relative to", "wanted", "reached", "rounds", "the machine alone", "met"}, left: 3}
	for _, g := range targets() {
		all := r.reached(g)
		if len(all) == 0 && !r.asked {
			continue
		}
		sign, reached, met := "≤ ", none, "not measured"
		if g.least {
			sign = "≥ "
		}
		if len(all) > 0 {
			reached, met = number(median(all))+g.unit, map[bool]string{true: "yes", false: "**no**"}[g.met(median(all))]
		}
		alone := none
		if all := r.alone(g); len(all) > 0 {
			alone = number(median(all)) + ", " + span(all, number)
		}
		t.row(g.what, g.of, cmp.Or(g.base, none), sign+number(g.wanted)+g.unit, reached, span(all, number), alone, met)
	}
	return t
}
