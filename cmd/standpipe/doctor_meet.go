package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/standpipe/standpipe"
)

// meeting is what a connection showed.
type meeting struct {
	conn  *standpipe.Conn
	id    standpipe.Identity
	first []byte // what the server said by itself
	ended bool   // it hung up without a word
}

// meet connects as any client does, sends nothing, and notes who is at the other end and what comes from there. The
// caller closes the connection. waiting says, where nothing came for p.quiet, whether to go on; ctx ends that.
func meet(ctx context.Context, d *diagnosis, p patient, waiting func() bool) (*meeting, error) {
	conn, err := standpipe.Dial(ctx, p.addr.String(), &standpipe.DialConfig{Policy: standpipe.Anyone()})
	if err != nil {
		return nil, err
	}
	m := &meeting{conn: conn, id: conn.Identity()}
	d.evidence = append(d.evidence, peerFacts(conn)...)
	buf := make([]byte, 64)
	for {
		conn.SetReadDeadline(time.Now().Add(p.quiet))
		n, err := conn.Read(buf)
		m.first = buf[:n]
		switch {
		case n > 0:
			d.note("says", "%s", greeting(m.first))
		case err == io.EOF:
			m.ended = true
			d.note("says", "nothing: it hung up at once")
		case errors.Is(err, os.ErrDeadlineExceeded):
			if waiting() && ctx.Err() == nil {
				continue
			}
			d.note("says", "nothing within %v; it may be waiting for the client to begin", p.quiet)
		default:
			d.note("says", "nothing: %v", err)
		}
		return m, nil
	}
}

// greeting describes the first bytes of a server.
func greeting(b []byte) string {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	if version, ok := bytes.CutPrefix(line, []byte("standpipe ")); ok && whole {
		return "the hello of standpipe's wire, version " + shown(string(version))
	}
	return fmt.Sprintf("%d bytes of another protocol than standpipe's: %s", len(b), strconv.QuoteToASCII(string(b)))
}

// judge is the verdict on a server that took the connection.
func (m *meeting) judge(d *diagnosis, p patient, ours bool) {
	ours = ours || bytes.HasPrefix(m.first, []byte("standpipe "))
	switch {
	case (ours || p.asked) && !p.policy.Admits(m.id):
		d.is("wrong-server", "%s serves it; a client would accept only %s", m.id, p.policy)
		d.program("if this server is the right one, in the client", `standpipe.Dial(ctx, %q, &standpipe.DialConfig{Policy: standpipe.User(%q)})`, p.addr.Name(), m.id.User)
		d.run("the same, for this command's clients", "standpipe call --policy user:%s %s METHOD", m.id.User, quote(p.addr.Name()))
		d.advise("if it is not, it sits on the name: stop it, and start the right server; a shared:NAME can't be taken by an ordinary user")
	case m.ended:
		d.is("turned-away", "the kernel let this user connect, and then %s hung up before a byte: its policy does not admit %s", m.id, selfText())
		admitMe(d, p, m.id)
	default:
		if ours && len(m.first) == 0 {
			d.note("but", "a standpipe server of calls says hello at once: this one moves bytes, or has reached its MaxConns")
		}
		d.is("ok", "%s can be reached; %s serves it", shown(p.addr.Name()), m.id)
	}
}

// admitMe says how a server is told to let this user in.
func admitMe(d *diagnosis, p patient, server standpipe.Identity) {
	name, me := p.addr.Name(), selfID()
	switch {
	case server.User == me:
		d.advise("the server runs as you: look at its log for why it ended the connection, and whether its policy has `self`")
		return
	case personal(name):
		name = "shared:" + name // others can't reach a personal one
	case ownName(name) != "":
		d.advise("it is user %s's own name %s: run the client as that user, or let the server take a name for others, too", server.User, ownName(name))
		name = "shared:" + ownName(name)
	}
	d.program("in the server", `standpipe.Listen(%q, &standpipe.ListenConfig{Policy: standpipe.Policy{}.Or(standpipe.User(%q))})`, name, me)
	d.run("the same, for a server of this command", "standpipe serve --policy self,user:%s %s", me, quote(name))
}

// personal: a NAME of one user's.
func personal(name string) bool {
	return !strings.ContainsAny(name, `/\@:`)
}

// ownName is the personal name that a path stands for; "" where it does for none.
func ownName(path string) string {
	dir, base := filepath.Split(path)
	name, ok := strings.CutSuffix(base, ".sock")
	if !ok || filepath.Base(strings.TrimSuffix(filepath.Clean(dir), "/run")) != "standpipe" {
		return ""
	}
	return name
}

// shown is s for a terminal: nothing in it moves the cursor.
func shown(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
