package main

import (
	"runtime/debug"
	"time"
)

// settled is what this process uses when its garbage is gone.
func settled(child int) usage {
	debug.FreeOSMemory()
	return used(child)
}

// kibEach is how much more memory is resident for each of n.
func kibEach(after, before usage, n int) float64 {
	return float64(after.Resident-before.Resident) / 1024 / float64(n)
}

// idleConnections is how many the contender takes of those that the plan wants.
func (m *measurement) idleConnections() int {
	if most := m.c.idleMost; most > 0 {
		return min(m.plan.Idle, most)
	}
	return m.plan.Idle
}

func (m *measurement) idle() error {
	n := m.idleConnections()
	server, err := m.ask(askSettle)
	if err != nil {
		return err
	}
	client := settled(0)
	start := time.Now()
	held, err := m.connect(n, 1)
	if err != nil {
		return err
	}
	took := time.Since(start)
	serverAfter, err := m.ask(askSettle)
	clientAfter := settled(0)
	m.r.Idle = &idle{
		Connections: n,
		Server:      kibEach(serverAfter, server, n),
		Client:      kibEach(clientAfter, client, n),
		ServerPeak:  float64(serverAfter.Peak) / (1 << 20),
		ClientPeak:  float64(clientAfter.Peak) / (1 << 20),
		Dial:        micros(took) / float64(n),
	}
	clear(held) // they are held until here
	return err
}
