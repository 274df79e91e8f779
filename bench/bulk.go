package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// bulks measures messages one way of each size.
func (m *measurement) bulks(c client) error {
	m.r.Bulk = map[string]*throughput{}
	for _, n := range m.fitting(m.plan.Bulk) {
		if err := m.bulk(c, n); err != nil {
			return fmt.Errorf("%s: %w", size(n), err)
		}
	}
	return nil
}

// bulk measures messages one way. A contender that has no way for that, not even a call with an empty response, is left out.
func (m *measurement) bulk(c client, n int) error {
	msg := make([]byte, n)
	fill(msg)
	send, err := sender(c, msg)
	if send == nil || err != nil {
		return err
	}
	count := max(1, 16<<20/n)
	if err := send(max(4, count)); err != nil { // memory that is used in turns is not fresh any more then
		return err
	}
	// How many messages take the time that we have?
	start := time.Now()
	if err := send(count); err != nil {
		return err
	}
	if d := time.Since(start); d < m.plan.Duration {
		count = min(1+int(float64(count)*float64(m.plan.Duration)/float64(d)), 1<<20)
	}
	s, err := m.begin()
	if err != nil {
		return err
	}
	if err := send(count); err != nil {
		return err
	}
	wall, each, err := s.end(count)
	amount := float64(n) * float64(count) / gib
	m.r.Bulk[size(n)] = &throughput{Rate: amount / wall.Seconds(), CPU: each.CPU / 1e6 * float64(count) / amount, Foreign: each.Foreign}
	return err
}

// sender returns a function that sends msg several times; nil: c can't.
func sender(c client, msg []byte) (send func(count int) error, err error) {
	if s, ok := c.(streamer); ok {
		return func(count int) error { return s.stream(msg, count) }, nil
	}
	const inFlight = 4
	var putters []putter
	for range inFlight {
		k, err := c.caller()
		if err != nil {
			return nil, err
		}
		p, ok := k.(putter)
		if !ok {
			return nil, nil
		}
		putters = append(putters, p)
	}
	return func(count int) error {
		var left atomic.Int64
		left.Store(int64(count))
		errs := make(chan error, len(putters))
		for _, p := range putters {
			go func() {
				for left.Add(-1) >= 0 {
					if err := p.put(msg); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		var failed error
		for range putters {
			failed = errors.Join(failed, <-errs)
		}
		return failed
	}, nil
}
