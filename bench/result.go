package main

import (
	"fmt"
	"slices"
	"strings"
)

// result is what one pair of processes measured in one round; or the medians of that.
type result struct {
	Err        string                 `json:",omitempty"`
	Latency    map[string]*latency    `json:",omitempty"` // by size, as size writes it
	Paced      *latency               `json:",omitempty"`
	Concurrent *concurrent            `json:",omitempty"`
	Bulk       map[string]*throughput `json:",omitempty"` // by size
	Loaded     *loaded                `json:",omitempty"`
	Carry      *carry                 `json:",omitempty"`
	Idle       *idle                  `json:",omitempty"`
	Quiet      *quiet                 `json:",omitempty"`
}

// latency is of calls with one in flight. Times are in µs.
type latency struct {
	P50, P99, Mean float64
	Calls          float64
	cost
}

// concurrent is of many calls at once. Times are in µs.
type concurrent struct {
	Rate     float64 // calls per second
	P50, P99 float64
	cost
}

// throughput is of one-way messages.
type throughput struct {
	Rate    float64 // GiB/s
	CPU     float64 // s per GiB, of both processes
	Foreign float64 // CPUs that other processes used meanwhile
}

// idle is of many connections that made one call each.
type idle struct {
	Connections            int
	Server, Client         float64 // KiB for each, resident
	ServerPeak, ClientPeak float64 // MiB
	Dial                   float64 // µs to connect and to make the call
}

// loaded is what calls are like while every CPU has somebody else's work, too.
type loaded struct {
	Latency    *latency // of small calls
	Concurrent *concurrent
}

// carry is of calls that carry memory that nobody touches. Times are in µs.
type carry struct {
	P50, P99, Plain float64 // Plain: the p50 of calls without it, over the same connection
	Bytes           int
}

// quiet is of many connections over which nothing goes any more, after some calls over each.
type quiet struct {
	Connections    int
	Calls          int     // over each, before
	Server, Client float64 // KiB for each, resident
	CPU            float64 // µs a second for all of them, of both processes
	Switches       float64 // context switches a second
}

// cost is of each call.
type cost struct {
	CPU          float64 // µs, of both processes
	Switches     float64 // context switches, of both processes
	ClientAllocs float64
	ServerAllocs float64
	Foreign      float64 // CPUs that other processes used meanwhile
}

// brief is the line that a round shows.
func (r *result) brief() string {
	var parts []string
	if l := r.Latency["64 B"]; l != nil {
		parts = append(parts, fmt.Sprintf("64 B %.2f µs", l.P50))
	}
	if r.Concurrent != nil {
		parts = append(parts, fmt.Sprintf("%.0f calls/s", r.Concurrent.Rate))
	}
	if b := r.Bulk["1 MiB"]; b != nil {
		parts = append(parts, fmt.Sprintf("%.2f GiB/s", b.Rate))
	}
	return strings.Join(parts, ", ")
}

const gib = 1 << 30

// size writes a number of bytes.
func size(n int) string {
	switch {
	case n >= 1e6 && n%1e6 == 0:
		return fmt.Sprintf("%d MB", n/1e6)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// median is 0 of nothing.
func median(numbers []float64) float64 {
	if len(numbers) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(numbers))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// medianOf is the median of a number of each value.
func medianOf[T any](values []T, number func(T) float64) float64 {
	numbers := make([]float64, len(values))
	for i, v := range values {
		numbers[i] = number(v)
	}
	return median(numbers)
}

// medians is the median of each number on its own; rounds that failed are nil. What is measured once is in the first round that has it.
func medians(rounds []*result) *result {
	m := &result{Latency: map[string]*latency{}, Bulk: map[string]*throughput{}}
	for _, r := range rounds {
		if r == nil {
			continue
		}
		for n := range r.Latency {
			m.Latency[n] = middle(rounds, func(r *result) *latency { return r.Latency[n] }, medianLatency)
		}
		for n := range r.Bulk {
			m.Bulk[n] = middle(rounds, func(r *result) *throughput { return r.Bulk[n] }, medianThroughput)
		}
	}
	m.Paced = middle(rounds, func(r *result) *latency { return r.Paced }, medianLatency)
	m.Concurrent = middle(rounds, func(r *result) *concurrent { return r.Concurrent }, medianConcurrent)
	m.Loaded = middle(rounds, func(r *result) *loaded { return r.Loaded }, func(l []*loaded) *loaded {
		return &loaded{
			Latency:    middle(l, func(l *loaded) *latency { return l.Latency }, medianLatency),
			Concurrent: middle(l, func(l *loaded) *concurrent { return l.Concurrent }, medianConcurrent),
		}
	})
	m.Carry = middle(rounds, func(r *result) *carry { return r.Carry }, medianCarry)
	m.Idle = middle(rounds, func(r *result) *idle { return r.Idle }, func(i []*idle) *idle { return i[0] })
	m.Quiet = middle(rounds, func(r *result) *quiet { return r.Quiet }, func(q []*quiet) *quiet { return q[0] })
	return m
}

// middle is the median of a part of all values that have it; nil where none has.
func middle[T, P any](values []*T, part func(*T) *P, median func([]*P) *P) *P {
	var parts []*P
	for _, v := range values {
		if v == nil {
			continue
		}
		if p := part(v); p != nil {
			parts = append(parts, p)
		}
	}
	if parts == nil {
		return nil
	}
	return median(parts)
}

func medianThroughput(b []*throughput) *throughput {
	return &throughput{
		Rate:    medianOf(b, func(t *throughput) float64 { return t.Rate }),
		CPU:     medianOf(b, func(t *throughput) float64 { return t.CPU }),
		Foreign: medianOf(b, func(t *throughput) float64 { return t.Foreign }),
	}
}

func medianConcurrent(c []*concurrent) *concurrent {
	return &concurrent{
		Rate: medianOf(c, func(c *concurrent) float64 { return c.Rate }),
		P50:  medianOf(c, func(c *concurrent) float64 { return c.P50 }),
		P99:  medianOf(c, func(c *concurrent) float64 { return c.P99 }),
		cost: medianCost(c, func(c *concurrent) cost { return c.cost }),
	}
}

func medianCarry(c []*carry) *carry {
	return &carry{
		P50:   medianOf(c, func(c *carry) float64 { return c.P50 }),
		P99:   medianOf(c, func(c *carry) float64 { return c.P99 }),
		Plain: medianOf(c, func(c *carry) float64 { return c.Plain }),
		Bytes: c[0].Bytes,
	}
}

func medianLatency(l []*latency) *latency {
	return &latency{
		P50:   medianOf(l, func(l *latency) float64 { return l.P50 }),
		P99:   medianOf(l, func(l *latency) float64 { return l.P99 }),
		Mean:  medianOf(l, func(l *latency) float64 { return l.Mean }),
		Calls: medianOf(l, func(l *latency) float64 { return l.Calls }),
		cost:  medianCost(l, func(l *latency) cost { return l.cost }),
	}
}

func medianCost[T any](values []T, of func(T) cost) cost {
	return cost{
		CPU:          medianOf(values, func(v T) float64 { return of(v).CPU }),
		Switches:     medianOf(values, func(v T) float64 { return of(v).Switches }),
		ClientAllocs: medianOf(values, func(v T) float64 { return of(v).ClientAllocs }),
		ServerAllocs: medianOf(values, func(v T) float64 { return of(v).ServerAllocs }),
		Foreign:      medianOf(values, func(v T) float64 { return of(v).Foreign }),
	}
}
