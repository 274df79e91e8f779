package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// measurement is what the client's process does.
type measurement struct {
	c    *contender
	e    *env
	plan plan
	r    *result
	ask  func(question string) (usage, error) // of the server
}

// run measures all parts of the plan.
func (m *measurement) run() error {
	c, err := m.c.dial(m.e)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer c.close()
	for _, p := range []struct {
		letter, what string
		measure      func(client) error
	}{
		{partLatency, "calls", m.latencies},
		{partPaced, "calls with pauses", func(c client) (err error) { m.r.Paced, err = m.latency(c, smallCall, pace); return err }},
		{partConcurrent, "concurrent calls", func(c client) (err error) { m.r.Concurrent, err = m.concurrent(c); return err }},
		{partLoaded, "while others compute", m.loaded},
		{partBulk, "one way", m.bulks},
		{partCarry, "calls that carry much", m.carry},
		{partIdle, "idle connections", func(client) error { return m.idle() }},
		{partQuiet, "quiet connections", func(client) error { return m.quiet() }},
	} {
		if !m.plan.has(p.letter) || !m.c.takes(p.letter) {
			continue
		}
		if err := p.measure(c); err != nil {
			return fmt.Errorf("%s: %w", p.what, err)
		}
	}
	return nil
}

// latencies measures calls of each size.
func (m *measurement) latencies(c client) (err error) {
	m.r.Latency = map[string]*latency{}
	for _, n := range m.fitting(m.plan.Sizes) {
		if m.r.Latency[size(n)], err = m.latency(c, n, 0); err != nil {
			return fmt.Errorf("%s: %w", size(n), err)
		}
	}
	return nil
}

const (
	smallCall = 64               // bytes of the calls that are not measured by size
	smallest  = 64               // bytes of any message: there has to be room for the mark, and for standpipe's other fields
	pace      = time.Millisecond // the pause before a paced call
)

// largest is the largest message that contenders are measured with that are not huge.
const largest = 64 << 20

func (m *measurement) fitting(sizes []int) []int {
	return slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return m.c.max > 0 && n > m.c.max || n > largest && !m.c.huge })
}

// takes says whether the contender is for a part, and has what it needs.
func (c *contender) takes(part string) bool {
	if c.noIdle && (part == partIdle || part == partQuiet) {
		return false
	}
	return c.parts == "" || strings.Contains(c.parts, part)
}

// stretch measures what both processes use between two moments.
type stretch struct {
	m              *measurement
	start          time.Time
	client, server usage
	busy           time.Duration
}

func (m *measurement) begin() (*stretch, error) {
	server, err := m.ask(askUsage)
	return &stretch{m: m, server: server, client: used(0), busy: busy(), start: time.Now()}, err
}

// end returns the wall time, and the cost of each of n calls.
func (s *stretch) end(n int) (time.Duration, cost, error) {
	wall, all := time.Since(s.start), busy()-s.busy
	client := used(0).minus(s.client)
	after, err := s.m.ask(askUsage)
	server, calls := after.minus(s.server), float64(n)
	return wall, cost{
		CPU:          micros(client.CPU+server.CPU) / calls,
		Switches:     float64(client.Switches+server.Switches) / calls,
		ClientAllocs: float64(client.Allocs) / calls,
		ServerAllocs: float64(server.Allocs) / calls,
		Foreign:      max(0, float64(all-client.CPU-server.CPU)/float64(wall)),
	}, err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// fill makes b something that does not compress.
func fill(b []byte) { rand.NewChaCha8([32]byte{1}).Read(b) }

// request is the payload of a call whose message has n bytes.
func (c *contender) request(n int) []byte {
	if c.payload != nil {
		n = c.payload(n)
	}
	b := make([]byte, n)
	fill(b)
	return b
}

// mark makes a request of its own of the i-th call, so that a response to another one shows.
func mark(req []byte, i int) { binary.LittleEndian.PutUint64(req[len(req)-8:], uint64(i)) }

// check tells whether resp is what the i-th call, with req, must be answered with. The first ones are looked at as a whole.
func check(req, resp []byte, i int) error {
	if len(resp) != len(req) {
		return fmt.Errorf("%d bytes answer %d", len(resp), len(req))
	}
	if last := len(req) - 8; !bytes.Equal(req[last:], resp[last:]) || i < 3 && !bytes.Equal(req, resp) {
		return errors.New("the response has another content than the request")
	}
	return nil
}

// latency measures calls one after the other, each behind a pause if there is to be one: nobody is awake then when it comes.
func (m *measurement) latency(c client, n int, pause time.Duration) (*latency, error) {
	k, err := c.caller()
	if err != nil {
		return nil, err
	}
	defer closeCaller(k)
	req := m.c.request(n)
	call := func(i int) (time.Duration, error) {
		mark(req, i)
		time.Sleep(pause)
		start := time.Now()
		resp, err := k.call(req)
		took := time.Since(start)
		if err == nil {
			err = check(req, resp, i)
		}
		return took, err
	}
	times := make([]time.Duration, 0, 1<<20)
	for start, i := time.Now(), 0; i < 10 || time.Since(start) < m.plan.Duration/4; i++ { // to warm up
		if _, err := call(i); err != nil {
			return nil, err
		}
	}
	s, err := m.begin()
	if err != nil {
		return nil, err
	}
	for i := 0; len(times) < cap(times) && (i < 20 || time.Since(s.start) < m.plan.Duration); i++ {
		took, err := call(i)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	_, each, err := s.end(len(times))
	l := &latency{Calls: float64(len(times)), cost: each}
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	l.Mean = micros(sum) / l.Calls
	l.P50, l.P99 = percentiles(times)
	return l, err
}

// percentiles sorts times.
func percentiles(times []time.Duration) (p50, p99 float64) {
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return micros(times[len(times)/2]), micros(times[len(times)*99/100])
}

// closeCaller closes those that have something to close.
func closeCaller(k caller) {
	if k, ok := k.(interface{ close() error }); ok {
		k.close()
	}
}
