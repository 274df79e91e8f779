package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/standpipe/standpipe/rpc"
)

// frame is what a server does, made of looks at it.
type frame struct {
	Name    string     `json:"name"`
	Seconds float64    `json:"seconds"` // that the rates are of; 0: there are none yet
	Window  float64    `json:"window"`  // that the times are of
	Rates   rates      `json:"rates"`
	Methods []methodAt `json:"methods"`
	Peers   []peerAt   `json:"connections"`
	Stats   rpc.Stats  `json:"stats"` // as the server has told it
}

// rates are per second.
type rates struct {
	Calls    float64 `json:"calls"`
	Errors   float64 `json:"errors"`
	Sent     float64 `json:"sent"`
	Received float64 `json:"received"`
}

// methodAt is a method, and what it does now. Times are in seconds.
type methodAt struct {
	Name   string  `json:"name"`
	Calls  float64 `json:"calls"` // per second, as the next
	Errors float64 `json:"errors"`
	P50    float64 `json:"p50"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	of     rpc.MethodStats
}

type peerAt struct {
	ID       int64   `json:"id"`
	Calls    float64 `json:"calls"`
	Sent     float64 `json:"sent"`
	Received float64 `json:"received"`
	of       rpc.ConnectionStats
}

// newFrame makes a frame of the last look and those before it. What belongs to looking is left out: the connection that asks, and the methods of
// the wire itself.
func newFrame(name string, past []rpc.Stats, now rpc.Stats, all bool) *frame {
	f := &frame{Name: name, Window: now.Uptime, Stats: now, Methods: []methodAt{}, Peers: []peerAt{}}
	var before, oldest rpc.Stats
	if len(past) > 0 {
		before = past[len(past)-1]
		f.Seconds = now.Uptime - before.Uptime
	}
	if len(past) > 0 && !all {
		oldest = past[0]
		f.Window = now.Uptime - oldest.Uptime
	}
	perSecond := func(now, before int64) float64 {
		if f.Seconds <= 0 {
			return 0
		}
		return max(float64(now-before), 0) / f.Seconds
	}
	for _, m := range now.Methods {
		if strings.HasPrefix(m.Name, "standpipe.") {
			continue
		}
		was := methodOf(before, m.Name)
		at := methodAt{Name: m.Name, of: m, Calls: perSecond(m.Calls, was.Calls), Errors: perSecond(sum(m.Errors), sum(was.Errors))}
		recent := rpc.MethodStats{Times: since(m.Times, methodOf(oldest, m.Name).Times)}
		at.P50, at.P90, at.P99 = recent.Quantile(0.5), recent.Quantile(0.9), recent.Quantile(0.99)
		f.Rates.Calls += at.Calls
		f.Rates.Errors += at.Errors
		f.Methods = append(f.Methods, at)
	}
	f.Rates.Errors += perSecond(sum(now.Refused), sum(before.Refused))
	was := map[int64]rpc.ConnectionStats{}
	for _, c := range before.Connections {
		was[c.ID] = c
	}
	own := rpc.ConnectionStats{}
	for _, c := range now.Connections {
		if c.Self {
			own = c
			continue
		}
		w := was[c.ID]
		f.Peers = append(f.Peers, peerAt{c.ID, perSecond(c.Calls, w.Calls), perSecond(c.Sent, w.Sent), perSecond(c.Received, w.Received), c})
	}
	w := was[own.ID]
	f.Rates.Sent = perSecond(now.Sent-own.Sent, before.Sent-w.Sent)
	f.Rates.Received = perSecond(now.Received-own.Received, before.Received-w.Received)
	return f
}

func methodOf(st rpc.Stats, name string) rpc.MethodStats {
	for _, m := range st.Methods {
		if m.Name == name {
			return m
		}
	}
	return rpc.MethodStats{}
}

func sum(counts map[string]int64) (n int64) {
	for _, k := range counts {
		n += k
	}
	return n
}

// since is the times that have come since then.
func since(now, then []rpc.TimeCount) []rpc.TimeCount {
	before := map[float64]int64{}
	for _, t := range then {
		before[t.UpTo] = t.Count
	}
	var list []rpc.TimeCount
	for _, t := range now {
		if t.Count -= before[t.UpTo]; t.Count > 0 {
			list = append(list, t)
		}
	}
	return list
}

// orders are what the lists can be sorted by, the largest first.
var orders = []string{"calls", "errors", "time", "bytes", "name"}

// sort sorts by one of orders, and what is equal by its name, or as it came.
func (f *frame) sort(by string) {
	slices.SortStableFunc(f.Methods, func(a, b methodAt) int {
		key := 0
		switch by {
		case "calls":
			key = cmp.Compare(b.Calls, a.Calls)
		case "errors":
			key = cmp.Compare(sum(b.of.Errors), sum(a.of.Errors))
		case "time":
			key = cmp.Compare(b.P99, a.P99)
		}
		return cmp.Or(key, cmp.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(f.Peers, func(a, b peerAt) int {
		key := 0
		switch by {
		case "calls":
			key = cmp.Compare(b.Calls, a.Calls)
		case "errors":
			key = cmp.Compare(b.of.Failed, a.of.Failed)
		case "bytes":
			key = cmp.Compare(b.Sent+b.Received, a.Sent+a.Received)
		case "name":
			key = cmp.Compare(a.of.Who, b.of.Who)
		}
		return cmp.Or(key, cmp.Compare(a.ID, b.ID))
	})
}

// servers is a line for each server.
type servers struct {
	Servers []serverLine `json:"servers"`
}

type serverLine struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"` // why there is no more
	Frame *frame `json:"frame,omitempty"`
}

func (s *servers) add(name string, f *frame, err error) {
	line := serverLine{Name: name, Frame: f}
	if err != nil {
		line.Error = err.Error()
	}
	s.Servers = append(s.Servers, line)
}
