package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
)

// standing is how much of what a server sends has come. What a client sends may depend on it.
type standing struct {
	bytes   uint64
	answers int
	values  int    // of streams
	credit  uint64 // in all
	calls   int    // that it made itself
}

// reached says whether p has come as far as want: by calls, where the connection speaks of calls, since their answers may be longer or
// shorter this time; by bytes elsewhere.
func (p standing) reached(want standing, calls bool) bool {
	if !calls {
		return p.bytes >= want.bytes
	}
	return p.answers >= want.answers && p.values >= want.values && p.credit >= want.credit && p.calls >= want.calls
}

// played is one connection of a trace, as it was or as it is.
type played struct {
	conn    int64
	began   int64
	steps   []step
	ended   bool // the client said that no more comes
	got     standing
	calls   bool                // it speaks of calls
	shared  bool                // the client gave or took shared memory, so that it can't be played
	answers map[string]*outcome // by call
	order   []string            // of the answers
	raw     []byte              // all that the server sent, where it does not speak of calls
	over    bool                // the server has ended
	session *session
}

// step is a piece that the client sent.
type step struct {
	at    int64
	bytes []byte
	after standing // of the server, when it did
}

// outcome is how a call went: what was called, all values that came, and how it ended.
type outcome struct {
	method, code, text string
	values             int
	sum                [sha256.Size]byte
	over               bool
}

func newPlayed(conn int64) *played {
	p := &played{conn: conn, answers: map[string]*outcome{}}
	seen := map[uint32]int{} // how often a number was used
	p.session = newSession(conn, false, func(e *event) { p.event(e, seen) })
	return p
}

// event takes what the session has decoded.
func (p *played) event(e *event, seen map[uint32]int) {
	switch {
	case e.What == "call" || e.What == "stream":
		p.calls, p.raw = true, nil
		seen[e.Stream]++
		if e.Way == toServer {
			key := callKey(e.Stream, seen)
			p.answers[key] = &outcome{method: e.Method}
			p.order = append(p.order, key)
		} else {
			p.got.calls++
		}
	case e.Way == toServer:
		p.shared = p.shared || slices.Contains([]string{"segment", "release", "retire", "ring", "bell"}, e.What)
	case e.What == "credit":
		p.got.credit += e.Size
	case e.What == "data" || e.What == "answer":
		o := p.answers[callKey(e.Stream, seen)]
		if e.What == "data" {
			p.got.values++
		} else {
			p.got.answers++
		}
		if o == nil {
			return // of a call that the server made
		}
		o.values++
		o.sum = sha256.Sum256(append(o.sum[:], e.raw...))
		if e.What == "answer" {
			o.code, o.text, o.over = e.Code, e.Text, true
		}
	}
}

func callKey(stream uint32, seen map[uint32]int) string {
	return fmt.Sprintf("%d/%d", stream, seen[stream])
}

// take takes a record of this connection.
func (p *played) take(rec *record) {
	switch {
	case rec.What == recOpen:
		p.began = rec.At
	case rec.What == recBytes && rec.Way == toServer:
		p.steps = append(p.steps, step{rec.At, rec.Bytes, p.got})
	case rec.What == recBytes:
		p.got.bytes += uint64(len(rec.Bytes))
		if !p.calls {
			p.raw = append(p.raw, rec.Bytes...)
		}
	case rec.What == recEnd && rec.Way == toServer:
		p.ended = true
	case rec.What == recEnd:
		p.over = true
	}
	p.session.take(rec)
}

// loadPlayed reads a whole trace: its server, and its connections in the order in which they began.
func loadPlayed(r io.Reader) (target string, list []*played, err error) {
	conns := map[int64]*played{}
	err = readTrace(r, func(rec *record) error {
		if rec.Trace != 0 {
			target = rec.Target
			return nil
		}
		p := conns[rec.Conn]
		if p == nil {
			p = newPlayed(rec.Conn)
			conns[rec.Conn] = p
			list = append(list, p)
		}
		p.take(rec)
		return nil
	})
	slices.SortStableFunc(list, func(a, b *played) int { return cmp.Compare(a.began, b.began) })
	return target, list, err
}

// differences are the calls that went otherwise than before, or where the bytes do.
func differences(before, now *played) (list []string) {
	if !before.calls {
		n := 0
		for n < min(len(before.raw), len(now.raw)) && before.raw[n] == now.raw[n] {
			n++
		}
		if n < len(before.raw) || n < len(now.raw) {
			list = append(list, fmt.Sprintf("what the server sent differs from byte %d on: %d bytes then, %d now", n, len(before.raw), len(now.raw)))
		}
		return list
	}
	for _, key := range before.order {
		was, is := before.answers[key], now.answers[key]
		switch {
		case is == nil:
			list = append(list, fmt.Sprintf("call %s %s was not made", key, plain(was.method)))
		case was.over != is.over:
			list = append(list, fmt.Sprintf("call %s %s: %s then, %s now", key, plain(was.method), was.how(), is.how()))
		case was.code != is.code || was.text != is.text:
			list = append(list, fmt.Sprintf("call %s %s: %s then, %s now", key, plain(was.method), was.how(), is.how()))
		case was.values != is.values || was.sum != is.sum:
			list = append(list, fmt.Sprintf("call %s %s: another value came (%s)", key, plain(was.method), is.how()))
		}
	}
	return list
}

func (o *outcome) how() string {
	switch {
	case !o.over:
		return "no answer"
	case o.text != "":
		return fmt.Sprintf("%s %q", o.code, o.text)
	}
	return o.code
}
