package main

import (
	"fmt"
	"runtime/debug"
	"time"
)

// settled is what this process uses when its garbage is gone.
func settled(child int) usage {
	debug.FreeOSMemory()
	return used(child)
}

func (m *measurement) idle() error {
	n := m.plan.Idle
	server, err := m.ask(askSettle)
	if err != nil {
		return err
	}
	client := settled(0)
	req := m.c.request(smallCall)
	held := make([]any, 0, 2*n)
	start := time.Now()
	for range n {
		c, err := m.c.dial(m.e)
		if err != nil {
			return fmt.Errorf("after %d: %w", len(held)/2, err)
		}
		k, err := c.caller()
		if err != nil {
			return err
		}
		resp, err := k.call(req)
		if err == nil {
			err = check(req, resp, 0)
		}
		if err != nil {
			return fmt.Errorf("after %d: %w", len(held)/2, err)
		}
		held = append(held, c, k)
	}
	took := time.Since(start)
	serverAfter, err := m.ask(askSettle)
	clientAfter := settled(0)
	each := func(after, before usage) float64 { return float64(after.Resident-before.Resident) / 1024 / float64(n) }
	m.r.Idle = &idle{
		Connections: n,
		Server:      each(serverAfter, server),
		Client:      each(clientAfter, client),
		ServerPeak:  float64(serverAfter.Peak) / (1 << 20),
		ClientPeak:  float64(clientAfter.Peak) / (1 << 20),
		Dial:        micros(took) / float64(n),
	}
	clear(held) // they are held until here
	return err
}
