package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// benchPlan is what to measure.
type benchPlan struct {
	sizes    []int
	ways     []*benchWay
	rounds   int // how often each way has its turn, so that a machine that changes its speed changes it for all
	duration time.Duration
}

const (
	benchFreshFrom = 16 << 20        // bytes of messages for which a server is started anew each time, since it would keep their memory
	benchNeeds     = 8               // times its size is what a message takes in memory, at worst
	benchMostTrips = 1 << 18         // in a turn
	benchPatience  = 2 * time.Minute // for a turn that hangs
)

// benchMeter measures by a plan.
type benchMeter struct {
	plan benchPlan
	say  func(done float64, what string)
	r    *benchReport

	open map[string]*benchSession
	used time.Duration // by servers that have ended
	done int           // turns
}

// benchSession is a way's server and client.
type benchSession struct {
	client benchClient
	child  *benchChild // nil: the server is none of ours
	before time.Duration
}

func measureBench(ctx context.Context, plan benchPlan, say func(float64, string)) (*benchReport, error) {
	m := &benchMeter{plan: plan, say: say, open: map[string]*benchSession{}, r: &benchReport{
		Time:    time.Now().Truncate(time.Second),
		Machine: newBenchMachine(),
		Rounds:  plan.rounds,
	}}
	defer m.closeAll()
	busy, known := benchBusy()
	own, began := benchCPU(), time.Now()
	if err := m.measure(ctx); err != nil {
		return nil, err
	}
	for way := range m.open {
		m.used += m.serverCPU(ctx, way)
	}
	after, _ := benchBusy()
	m.noteBusy(known, after-busy-m.used-(benchCPU()-own), time.Since(began))
	for _, c := range m.r.Cells {
		c.merge()
	}
	m.r.sort()
	m.noteUnsteady()
	m.r.Advice = m.r.advise()
	return m.r, nil
}

// measure goes through all sizes, rounds and ways.
func (m *benchMeter) measure(ctx context.Context) error {
	if err := m.openAll(ctx); err != nil {
		return err
	}
	memory, all := benchMemory(), len(m.plan.sizes)*m.plan.rounds*len(m.plan.ways)
	turn := m.plan.duration / time.Duration(2*all)
	for _, size := range m.plan.sizes {
		if memory > 0 && int64(size)*benchNeeds > memory {
			m.r.Notes = append(m.r.Notes, fmt.Sprintf("%s was left out: it may take %s of memory, and %s can be had.", benchSize(size),
				benchSize(size*benchNeeds), benchSize(int(memory>>20)<<20)))
			continue
		}
		m.r.Sizes = append(m.r.Sizes, size)
		msg := make([]byte, size)
		randv2.NewChaCha8([32]byte{1}).Read(msg) // what does not compress
		for round := range m.plan.rounds {
			for _, w := range m.plan.ways {
				m.say(float64(m.done)/float64(all), fmt.Sprintf("%s, %s, round %d of %d", w.label, benchSize(size), round+1, m.plan.rounds))
				m.done++
				if err := m.turn(ctx, w, msg, turn); err != nil {
					return err
				}
			}
		}
	}
	if len(m.r.Cells) == 0 {
		return m.nothing()
	}
	return nil
}

func (m *benchMeter) nothing() error {
	var why []string
	for _, l := range m.r.Left {
		why = append(why, l.Way+": "+l.Why)
	}
	return fmt.Errorf("nothing could be measured: %s", strings.Join(append(why, m.r.Notes...), "; "))
}

// openAll starts all servers once, and leaves out the ways that can't be gone here.
func (m *benchMeter) openAll(ctx context.Context) error {
	var there []*benchWay
	for _, w := range m.plan.ways {
		m.say(0, w.label+", starting")
		_, err := m.session(ctx, w)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			m.r.Left = append(m.r.Left, benchLeft{Way: w.name, Why: err.Error()})
			continue
		}
		there = append(there, w)
		m.r.Ways = append(m.r.Ways, benchLabel{w.name, w.label, w.note, w.calls, w.own})
	}
	m.plan.ways = there
	if len(there) == 0 {
		return m.nothing()
	}
	return nil
}

// session is the way's, which is opened where it is not.
func (m *benchMeter) session(ctx context.Context, w *benchWay) (*benchSession, error) {
	if s := m.open[w.name]; s != nil {
		return s, nil
	}
	s, addr := &benchSession{}, w.addr
	if w.serve != nil {
		name := "bench-" + strings.ToLower(rand.Text()[:8])
		child, err := startBenchChild(ctx, w.name, name)
		if err != nil {
			return nil, err
		}
		s.child, addr = child, child.addr
	}
	client, err := w.dial(ctx, addr)
	if err != nil {
		if s.child != nil {
			s.child.stop()
		}
		return nil, err
	}
	s.client, m.open[w.name] = client, s
	s.before = m.serverCPU(ctx, w.name)
	return s, nil
}

// serverCPU is what the way's server has used in this session. One that does not say has used nothing: its end shows elsewhere.
func (m *benchMeter) serverCPU(ctx context.Context, way string) (used time.Duration) {
	s := m.open[way]
	if s == nil {
		return 0
	}
	if s.child != nil {
		used, _ = s.child.cpu(ctx)
	} else if asker, ok := s.client.(benchCPUAsker); ok {
		used, _ = asker.serverCPU(ctx)
	}
	return max(0, used-s.before)
}

func (m *benchMeter) close(way string) {
	s := m.open[way]
	if s == nil {
		return
	}
	delete(m.open, way)
	s.client.close()
	if s.child != nil {
		s.child.stop()
	}
}

func (m *benchMeter) closeAll() {
	for way := range m.open {
		m.close(way)
	}
}

// turn measures a way once. What fails is left out, and said; an error is of ctx.
func (m *benchMeter) turn(ctx context.Context, w *benchWay, msg []byte, turn time.Duration) error {
	if w.most > 0 && len(msg) > w.most || m.failed(w.name, len(msg)) {
		return nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, 10*turn+benchPatience, errors.New("it took too long"))
	defer cancel()
	trip, flow, err := m.both(limited, w, msg, turn)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		if limited.Err() != nil {
			err = context.Cause(limited)
		}
		m.r.Left = append(m.r.Left, benchLeft{w.name, len(msg), err.Error()})
		m.r.Cells = slices.DeleteFunc(m.r.Cells, func(c *benchCell) bool { return c.Way == w.name && c.Size == len(msg) })
		m.close(w.name)
		return nil
	}
	c := m.r.cell(w.name, len(msg))
	if c == nil {
		c = &benchCell{Way: w.name, Size: len(msg)}
		m.r.Cells = append(m.r.Cells, c)
	}
	c.trips, c.flows = append(c.trips, trip), append(c.flows, flow)
	if len(msg) >= benchFreshFrom {
		m.used += m.serverCPU(ctx, w.name)
		m.close(w.name)
		debug.FreeOSMemory()
	}
	return nil
}

func (m *benchMeter) failed(way string, size int) bool {
	return slices.ContainsFunc(m.r.Left, func(l benchLeft) bool { return l.Way == way && l.Size == size })
}

func (m *benchMeter) both(ctx context.Context, w *benchWay, msg []byte, turn time.Duration) (trip benchTrip, flow benchFlow, err error) {
	s, err := m.session(ctx, w)
	if err != nil {
		return trip, flow, err
	}
	cpu := func() time.Duration { return benchCPU() + m.serverCPU(ctx, w.name) }
	if trip, err = benchTrips(ctx, s.client, msg, turn, cpu); err != nil {
		return trip, flow, fmt.Errorf("round trips: %w", err)
	}
	if flow, err = benchFlows(ctx, s.client, msg, turn, cpu); err != nil {
		return trip, flow, fmt.Errorf("one way: %w", err)
	}
	return trip, flow, nil
}

// benchTrips measures round trips for the length of a turn, behind some that do not count: they touch memory that is new, and let both sides find
// their pace, for which one large one does. Where the clock is too coarse for one, it is the mean of several.
func benchTrips(ctx context.Context, c benchClient, msg []byte, turn time.Duration, cpu func() time.Duration) (benchTrip, error) {
	n := 0
	echo := func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		benchMark(msg, n)
		back, err := c.echo(ctx, msg)
		if err == nil {
			err = benchSame(msg, back, n)
		}
		n++
		return err
	}
	for began := time.Now(); n < 1 || n < 200 && time.Since(began) < turn/4; {
		if err := echo(); err != nil {
			return benchTrip{}, err
		}
	}
	var times []time.Duration
	used, first, began := cpu(), n, time.Now()
	for len(times) == 0 || len(times) < benchMostTrips && time.Since(began) < turn {
		at, took, before := time.Now(), time.Duration(0), n
		for n == before || took < enough() {
			if err := echo(); err != nil {
				return benchTrip{}, err
			}
			took = time.Since(at)
		}
		times = append(times, took/time.Duration(n-before))
	}
	return newBenchTrip(times, cpu()-used, n-first), nil
}

// benchMark makes the n-th message another one than the last.
func benchMark(msg []byte, n int) {
	copy(msg[max(0, len(msg)-8):], binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// benchSame holds an answer against the n-th message: the first ones as a whole, the others at their mark.
func benchSame(msg, back []byte, n int) error {
	if len(back) != len(msg) {
		return benchShort(len(back), len(msg))
	}
	from := max(0, len(msg)-8)
	if n < 2 {
		from = 0
	}
	if !bytes.Equal(msg[from:], back[from:]) {
		return errors.New("other bytes came back")
	}
	return nil
}

// benchFlows measures messages one way for the length of a turn, behind benchTrips, which has touched the memory. It first finds out how many are
// worth a look at the clock.
func benchFlows(ctx context.Context, c benchClient, msg []byte, turn time.Duration, cpu func() time.Duration) (benchFlow, error) {
	count, total := 0, time.Duration(0)
	used := cpu()
	for n := 1; count == 0 || total < turn; {
		began := time.Now()
		if err := c.send(ctx, msg, n); err != nil {
			return benchFlow{}, err
		}
		took := time.Since(began)
		if count == 0 && took < max(turn/4, enough()) {
			n *= 4
			used = cpu()
			continue
		}
		count += n
		total += took
	}
	return newBenchFlow(len(msg), count, total, cpu()-used), nil
}
