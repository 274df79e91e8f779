package rpc

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/standpipe/standpipe"
)

// Stats is what a Server has done and has to do. All counts begin when the Server is made, and only grow, but for what is open, blocked,
// queued or shared now. Times are in seconds. spec/stats.schema.json has the same as a JSON Schema.
type Stats struct {
	PID     int     `json:"pid"`
	Program string  `json:"program"`
	Uptime  float64 `json:"uptime"`

	Connected int   `json:"connected"` // connections now
	Accepted  int64 `json:"accepted"`  // connections so far
	Sent      int64 `json:"sent"`      // bytes of frames and Buffers, of all connections so far
	Received  int64 `json:"received"`

	// Refused is calls that no method was asked for: by a code's name, how many. Such as Unimplemented: there is no such method.
	Refused map[string]int64 `json:"refused"`

	Connections []ConnectionStats `json:"connections"` // the oldest 4096
	Methods     []MethodStats     `json:"methods"`     // in the order of their names
}

// ConnectionStats is one connection.
type ConnectionStats struct {
	ID      int64   `json:"id"`   // as they were accepted: 1, 2, 3
	Self    bool    `json:"self"` // who asks
	Dialed  bool    `json:"dialed"`
	User    string  `json:"user"` // as the kernel vouches; empty: the connection does not tell
	PID     int     `json:"pid"`
	Who     string  `json:"who"`     // both, for people
	Program string  `json:"program"` // for people; empty: it can't be seen
	Age     float64 `json:"age"`

	Calls   int64 `json:"calls"`   // so far
	Failed  int64 `json:"failed"`  // of them
	Open    int   `json:"open"`    // of them, now; streams, too
	Streams int   `json:"streams"` // open ones, whoever has opened them
	Blocked int   `json:"blocked"` // of those, where a Send here waits until the peer reads
	Queued  int64 `json:"queued"`  // bytes of values that no handler has taken, or has not returned from

	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
	Made     int64 `json:"made"`  // bytes of memory for Buffers that the server shares with the peer,
	Lent     int64 `json:"lent"`  // which the peer has now,
	Taken    int64 `json:"taken"` // and that the peer shares with the server
	Ring     int64 `json:"ring"`  // bytes of the ring's areas; 0: no ring
}

// MethodStats is one method.
type MethodStats struct {
	Name   string           `json:"name"`
	Kind   string           `json:"kind"`
	Calls  int64            `json:"calls"` // so far
	Open   int              `json:"open"`  // of them, now
	Errors map[string]int64 `json:"errors"`

	// P50, P90 and P99 are the times within which that many of 100 calls were done, to a quarter, and 0 where none was.
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`

	// Times is how long handlers took, with the decoding and the encoding, and streams were open. Of quick methods one call of eight is timed, and
	// counts for eight.
	Times []TimeCount `json:"times"`
}

// TimeCount is how many calls took up to that time, and longer than the one before it.
type TimeCount struct {
	UpTo  float64 `json:"up_to"`
	Count int64   `json:"count"`
}

// Quantile is the time that a part q of the calls, from 0 to 1, took at most; 0 where there are none.
func (m MethodStats) Quantile(q float64) float64 {
	var all, sum int64
	for _, t := range m.Times {
		all += t.Count
	}
	for _, t := range m.Times {
		if sum += t.Count; float64(sum) >= q*float64(all) {
			return t.UpTo
		}
	}
	return 0
}

const (
	statsMethod     = reserved + "stats"
	mostConnections = 4096 // that one answer names
)

// StatsOf asks the other side for its Stats. It is Unimplemented where that has no server, or one that does not tell, and PermissionDenied where
// this user may not ask: by default only the server's own user and the superuser may. Server.Require("standpipe.stats", p) says otherwise.
func StatsOf(ctx context.Context, p *Peer) (Stats, error) {
	return Call[Stats](WithCodec(ctx, MessagePack), p, statsMethod, struct{}{})
}

// tellsStats adds the method.
func (s *Server) tellsStats() {
	h := func(ctx context.Context, _ any) (Stats, error) {
		st := s.stats(PeerFrom(ctx))
		st.Connections = st.Connections[:min(len(st.Connections), mostConnections)]
		return st, nil
	}
	s.Require(statsMethod, standpipe.Policy{}.Or(standpipe.Superuser()))
	s.add(statsMethod, unaryRoute(s, statsMethod, h))
}

// tally is what is counted of a method, besides the runs of its paces. A call that succeeds adds to nothing here but, where it is timed, to times.
type tally struct {
	others atomic.Uint64 // streams, and calls that were not admitted
	failed codeCounts
	times  histogram
}

type codeCounts [Unauthenticated + 1]atomic.Uint64

func (c *codeCounts) add(code Code) {
	if code > Unauthenticated {
		code = Unknown
	}
	c[code].Add(1)
}

func (c *codeCounts) named() map[string]int64 {
	m := map[string]int64{}
	for code := range c {
		if n := c[code].Load(); n > 0 {
			m[Code(code).String()] = int64(n)
		}
	}
	return m
}

// census is who is connected, and what those were sent who have gone.
type census struct {
	began   time.Time
	refused codeCounts

	mu             sync.Mutex
	members        map[*Peer]*member
	last           int64
	sent, received int64

	looking sync.Mutex // one look at a time
}

type member struct {
	id    int64
	since time.Time

	looked       bool // of looking, as the rest
	who, program string
}

func (c *census) join(p *Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members == nil {
		c.members = map[*Peer]*member{}
	}
	c.last++
	c.members[p] = &member{id: c.last, since: time.Now()}
}

func (c *census) leave(p *Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[p] == nil {
		return
	}
	delete(c.members, p)
	u := p.ch.Usage()
	c.sent += u.Sent
	c.received += u.Received
}

// Stats looks at the server. It costs about as much as some calls for each connection, and holds up none.
func (s *Server) Stats() Stats { return s.stats(nil) }

// stats is Stats for who asks.
func (s *Server) stats(asker *Peer) Stats {
	c := &s.census
	c.looking.Lock()
	defer c.looking.Unlock()
	c.mu.Lock()
	members := maps.Clone(c.members)
	st := Stats{PID: os.Getpid(), Uptime: time.Since(c.began).Seconds(), Connected: len(members), Accepted: c.last, Sent: c.sent, Received: c.received}
	c.mu.Unlock()
	st.Program, _ = os.Executable()
	st.Refused = c.refused.named()
	st.Connections = []ConnectionStats{}
	open := map[*route]int{}
	for p, m := range members {
		one := p.stats(open)
		st.Sent += one.Sent
		st.Received += one.Received
		one.ID, one.Age, one.Self = m.id, time.Since(m.since).Seconds(), p == asker
		m.look(p)
		one.Who, one.Program = m.who, m.program
		st.Connections = append(st.Connections, one)
	}
	slices.SortFunc(st.Connections, func(a, b ConnectionStats) int { return int(a.ID - b.ID) })
	st.Methods = []MethodStats{}
	routes := *s.routes.Load()
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		st.Methods = append(st.Methods, routes[name].stats(open[routes[name]]))
	}
	return st
}

// look finds out once who is there: names are looked up in the system's files.
func (m *member) look(p *Peer) {
	if m.looked {
		return
	}
	m.looked = true
	m.who = p.Identity().String()
	if conn, ok := p.Conn().(*standpipe.Conn); ok {
		m.program, _ = conn.Program()
	}
}

// stats adds the calls that are open to open.
func (p *Peer) stats(open map[*route]int) ConnectionStats {
	id, u := p.Identity(), p.ch.Usage()
	st := ConnectionStats{Dialed: p.dialer, User: id.User, PID: id.PID, Queued: p.held.Load(),
		Sent: u.Sent, Received: u.Received, Made: u.Made, Lent: u.Lent, Taken: u.Taken, Ring: u.Ring}
	var streams []*stream
	p.in.mu.Lock()
	st.Calls, st.Failed, st.Open = p.in.begun, p.in.failed, p.in.calls.n
	for c := range p.in.calls.all() {
		open[c.m]++
		if c.stream != nil {
			streams = append(streams, c.stream)
		}
	}
	p.in.mu.Unlock()
	p.out.mu.Lock()
	for _, c := range p.out.slots {
		if c != nil && c.stream != nil {
			streams = append(streams, c.stream)
		}
	}
	p.out.mu.Unlock()
	st.Streams = len(streams)
	for _, s := range streams {
		s.mu.Lock()
		if s.blocked {
			st.Blocked++
		}
		s.mu.Unlock()
	}
	return st
}

// stats is what is known of the method; open is how many of its calls run.
func (m *route) stats(open int) MethodStats {
	st := MethodStats{Name: m.name, Kind: m.kind(), Open: open, Errors: m.tally.failed.named(), Times: m.tally.times.steps()}
	st.Calls = int64(m.small.runs.Load() + m.large.runs.Load() + m.tally.others.Load())
	st.P50, st.P90, st.P99 = st.Quantile(0.5), st.Quantile(0.9), st.Quantile(0.99)
	return st
}
