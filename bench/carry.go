package main

import "time"

// carry measures calls that carry memory which was used before, beside the same calls without it: in turns, so that both are measured in the same moment.
func (m *measurement) carry(c client) error {
	k, ok := c.(carrier)
	if !ok {
		return nil
	}
	with, without, err := k.carry(m.plan.Carry)
	if err != nil {
		return err
	}
	const turns = 10
	var long, short []time.Duration
	for turn := range turns + 1 {
		for _, kind := range []struct {
			call  func() error
			times *[]time.Duration
		}{{with, &long}, {without, &short}} {
			if *kind.times, err = timeCalls(kind.call, m.plan.Duration/turns, *kind.times); err != nil {
				return err
			}
		}
		if turn == 0 { // to warm up
			long, short = nil, nil
		}
	}
	r := &carry{Bytes: m.plan.Carry}
	r.P50, r.P99 = percentiles(long)
	r.Plain, _ = percentiles(short)
	m.r.Carry = r
	return nil
}

// timeCalls calls for a while, 10 times at least.
func timeCalls(call func() error, d time.Duration, times []time.Duration) ([]time.Duration, error) {
	for begin, i := time.Now(), 0; i < 10 || time.Since(begin) < d; i++ {
		start := time.Now()
		if err := call(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return times, nil
}

func ofCarry(f func(*carry) float64) figure {
	return func(r *result) (float64, bool) {
		if r.Carry == nil {
			return 0, false
		}
		return f(r.Carry), true
	}
}

var (
	carryP50   = ofCarry(func(c *carry) float64 { return c.P50 })
	carryTimes = ofCarry(func(c *carry) float64 { return c.P50 / c.Plain })
)

func (r *report) carry() *table {
	t := &table{title: "A call that carries " + size(r.Plan.Carry), text: "In µs: a call of " + size(smallCall) + " with memory beside it that was used before and that nobody touches now (to get it " +
		"and to give it back is a part of the call), and the same without.", columns: []string{"contender", "p50", "p99", "p50 without", "times that", "rounds"}, left: 1}
	for _, c := range r.ordered(1, carryP50) {
		m := r.Median[c.name].Carry
		t.row(c.label(), number(m.P50), number(m.P99), number(m.Plain), number(median(values(r.Results[c.name], carryTimes))), r.spread(c.name, carryTimes, number))
	}
	return t
}
