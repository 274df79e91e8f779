package main

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// The phases of concurrent calls.
const (
	warming int32 = iota
	measuring
	ending
)

// crowd are the callers that call at once.
type crowd struct {
	phase   atomic.Int32
	tallies []tally
	failed  chan error
	wg      sync.WaitGroup
}

// tally is what one caller counts.
type tally struct {
	calls atomic.Int64
	times []time.Duration // of some of them
	_     [64]byte        // another caller's is on another cache line
}

// calls calls until the end.
func (c *crowd) calls(k caller, req []byte, t *tally) error {
	for i := 0; ; i++ {
		phase := c.phase.Load()
		if phase == ending {
			return nil
		}
		timed := phase == measuring && (i%8 == 0 || len(t.times) == 0) && len(t.times) < cap(t.times)
		var start time.Time
		if timed {
			start = time.Now()
		}
		mark(req, i)
		resp, err := k.call(req)
		if err == nil {
			err = check(req, resp, i)
		}
		if err != nil {
			return err
		}
		if timed {
			t.times = append(t.times, time.Since(start))
		}
		t.calls.Add(1)
	}
}

func (c *crowd) total() (n int64) {
	for i := range c.tallies {
		n += c.tallies[i].calls.Load()
	}
	return n
}

func (m *measurement) concurrent(c client) (*concurrent, error) {
	all := &crowd{tallies: make([]tally, m.plan.Callers), failed: make(chan error, m.plan.Callers)}
	for i := range all.tallies {
		k, err := c.caller()
		if err != nil {
			return nil, err
		}
		all.tallies[i].times = make([]time.Duration, 0, 1<<14)
		all.wg.Go(func() {
			defer closeCaller(k)
			if err := all.calls(k, m.c.request(smallCall), &all.tallies[i]); err != nil {
				all.failed <- err
			}
		})
	}
	time.Sleep(m.plan.Duration / 2)
	s, err := m.begin()
	if err != nil {
		return nil, err
	}
	all.phase.Store(measuring)
	before := all.total()
	time.Sleep(2 * m.plan.Duration)
	calls := all.total() - before
	wall, each, err := s.end(int(calls))
	if err != nil {
		return nil, err
	}
	all.phase.Store(ending)
	if err := all.wait(); err != nil {
		return nil, err
	}
	if calls == 0 {
		return nil, errors.New("no call was answered")
	}
	var times []time.Duration
	for i := range all.tallies {
		times = append(times, all.tallies[i].times...)
	}
	r := &concurrent{Rate: float64(calls) / wall.Seconds(), cost: each}
	r.P50, r.P99 = percentiles(times)
	return r, nil
}

// wait returns the first error of a caller, if any, when all have ended.
func (c *crowd) wait() error {
	done := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case err := <-c.failed:
		return err
	case <-time.After(10 * time.Second):
		return errors.New("callers hang")
	}
	select {
	case err := <-c.failed:
		return err
	default:
		return nil
	}
}
