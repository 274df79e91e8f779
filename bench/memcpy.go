package main

import (
	"runtime"
	"slices"
	"time"
)

// copySizes are those that are always measured; those of one-way messages come to it.
var copySizes = []int{4 << 10, 64 << 10, 1 << 20, 64 << 20}

func (p plan) copySizes() []int {
	sizes := slices.Clone(copySizes)
	if p.has(partBulk) {
		sizes = append(sizes, p.Bulk...)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// copies measures copying in memory by one goroutine: the best of 5, in GiB/s, by the size of a copy.
func copies(d time.Duration, p plan) map[string]float64 {
	rates := map[string]float64{}
	for _, n := range p.copySizes() {
		from, to := make([]byte, n), make([]byte, n)
		fill(from)
		copy(to, from) // the first touch of fresh pages is no copying
		for range 5 {
			bytes, start := 0, time.Now()
			for time.Since(start) < d/5 {
				for range max(1, 1<<20/n) {
					copy(to, from)
					bytes += n
				}
			}
			rates[size(n)] = max(rates[size(n)], float64(bytes)/time.Since(start).Seconds()/gib)
		}
		runtime.KeepAlive(to)
	}
	return rates
}

// memcpy is the row of the table of one-way messages that says what copying in memory would be.
func (r *report) memcpy() []string {
	cells := []string{"*memcpy*", "memory"}
	for _, n := range r.Plan.Bulk {
		rate, ok := r.Copies[size(n)]
		if !ok {
			return nil
		}
		times := none
		if m := r.Median[floor]; m != nil && m.Bulk[size(n)] != nil {
			times = number(rate / m.Bulk[size(n)].Rate)
		}
		cells = append(cells, number(rate), times, none, none)
	}
	return cells
}
