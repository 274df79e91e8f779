package main

import (
	"fmt"
	"time"
)

const (
	quietConnections = 300
	quietCalls       = 64              // over each connection: enough for standpipe to take its ring, which it does after 32 messages
	quietLeast       = time.Second / 2 // of all windows
	quietWindows     = 5
	quietSettling    = 300 * time.Millisecond // for what a program does once behind its last call
)

// quiet measures what connections cost over which there was a good deal, and is nothing any more. There is one before, so that only theirs is counted.
func (m *measurement) quiet() error {
	first, err := m.connect(1, quietCalls)
	if err != nil {
		return err
	}
	server, err := m.ask(askSettle)
	if err != nil {
		return err
	}
	client := settled(0)
	n := min(m.idleConnections(), quietConnections)
	held, err := m.connect(n, quietCalls)
	if err != nil {
		return err
	}
	serverAfter, err := m.ask(askSettle)
	if err != nil {
		return err
	}
	clientAfter := settled(0)
	time.Sleep(quietSettling)
	var cpu, switches []float64
	for range quietWindows {
		s, err := m.begin()
		if err != nil {
			return err
		}
		time.Sleep(max(quietLeast, 12*m.plan.Duration) / quietWindows)
		wall, all, err := s.end(1)
		if err != nil {
			return err
		}
		cpu, switches = append(cpu, all.CPU/wall.Seconds()), append(switches, all.Switches/wall.Seconds())
	}
	m.r.Quiet = &quiet{
		Connections: n,
		Calls:       quietCalls,
		Server:      kibEach(serverAfter, server, n),
		Client:      kibEach(clientAfter, client, n),
		CPU:         median(cpu),
		Switches:    median(switches),
	}
	clear(first) // they are held until here
	clear(held)
	return nil
}

// connect makes connections, and some calls over each.
func (m *measurement) connect(n, calls int) (held []any, err error) {
	req := m.c.request(smallCall)
	for i := range n {
		c, err := m.c.dial(m.e)
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", i+1, err)
		}
		k, err := c.caller()
		if err != nil {
			return nil, err
		}
		for j := range calls {
			mark(req, j)
			resp, err := k.call(req)
			if err == nil {
				err = check(req, resp, j)
			}
			if err != nil {
				return nil, fmt.Errorf("connection %d: %w", i+1, err)
			}
		}
		held = append(held, c, k)
	}
	return held, nil
}

func ofQuiet(f func(*quiet) float64) figure {
	return func(r *result) (float64, bool) {
		if r.Quiet == nil {
			return 0, false
		}
		return f(r.Quiet), true
	}
}

var (
	quietMemory = ofQuiet(func(q *quiet) float64 { return q.Server + q.Client })
	quietCPU    = ofQuiet(func(q *quiet) float64 { return q.CPU / float64(q.Connections) })
)

func (r *report) quiet() *table {
	t := &table{title: "Quiet connections", text: fmt.Sprintf("Each has made %d calls, so that what is shared is there; then comes nothing any more. Resident memory (what "+
		"both processes share counts at both), beside that of connections that made one call; and CPU time and context switches of both processes, a second, for all connections: what a Go program costs that only waits is in it, and the floor's row says what that is.", quietCalls),
		columns: []string{"contender", "connections", "server KiB each", "client KiB each", "×", "both after one call", "CPU µs/s", "switches/s"}, left: 1}
	for _, c := range r.ordered(1, quietMemory) {
		q := r.Median[c.name].Quiet
		t.row(c.label(), thousands(float64(q.Connections)), number(q.Server), number(q.Client), r.ratio(c.name, quietMemory),
			r.value(c.name, memory, number), number(q.CPU), number(q.Switches))
	}
	return t
}
