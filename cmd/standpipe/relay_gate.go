package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/standpipe/standpipe"
)

// end is one side of a relayed connection. CloseWrite tells the other side that no more comes; it is an errors.ErrUnsupported
// where there is no way to tell.
type end interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// side is an end, and what is known of it.
type side struct {
	end
	place place
	who   string          // who is there, for people
	local *standpipe.Conn // where it is one
	whole bool            // the end of what it sends is its end altogether
	deaf  bool            // nobody there hears of CloseWrite
}

// network says whether it is a connection of TCP.
func (s *side) network() bool { return s.place.kind == kindTCP || s.place.kind == kindTLS }

// gate is where the sides of one kind come from: by accepting, or by dialing.
type gate struct {
	place  place
	opts   *relayOptions
	stdio  *stdio // kindStdio
	ln     net.Listener
	local  *standpipe.Listener
	secure *tls.Config
}

// newGate prepares a side: one that listens does so when it returns.
func newGate(p place, opts *relayOptions) (*gate, error) {
	g := &gate{place: p, opts: opts}
	var err error
	if p.kind == kindTLS {
		if g.secure, err = opts.tls(p.listens); err != nil {
			return nil, err
		}
		if g.secure.ServerName == "" {
			g.secure.ServerName, _, _ = net.SplitHostPort(p.address)
		}
	}
	switch {
	case p.kind == kindStdio:
		g.stdio = newStdio(opts.in, opts.out)
	case p.listens && p.kind == kindName:
		g.local, err = standpipe.Listen(p.address, &standpipe.ListenConfig{Policy: opts.policy})
	case p.listens:
		var near bool
		if near, err = loopback(p.address); err == nil && !near && !opts.remote {
			err = advisedf("--remote allows it; without it only this machine's own programs can connect",
				"%s can be reached from other machines", p.address)
		}
		if err == nil {
			g.ln, err = net.Listen("tcp", p.address)
		}
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// ready is what is printed when it can be connected to: its name, and where that leads.
func (g *gate) ready() string {
	switch {
	case g.local != nil:
		addr := g.local.Addr().(standpipe.Addr)
		return fmt.Sprintf("ready %s %s", addr.Name(), addr)
	case g.ln != nil:
		scheme, _, _ := strings.Cut(g.place.text, ":")
		return fmt.Sprintf("ready %s:%s", scheme, g.ln.Addr())
	}
	return ""
}

func (g *gate) close() {
	if g.local != nil {
		g.local.Close()
	}
	if g.ln != nil {
		g.ln.Close()
	}
}

// open waits for a client, or connects. What it returns may have to be greeted first.
func (g *gate) open(ctx context.Context) (*side, error) {
	s := &side{place: g.place}
	var err error
	switch {
	case g.local != nil:
		s.local, err = g.local.AcceptConn()
	case g.ln != nil:
		var c net.Conn
		if c, err = g.ln.Accept(); err == nil {
			s.end, s.who = g.wrap(c), c.RemoteAddr().String()
		}
	case g.place.kind == kindStdio:
		s.end, s.who, s.deaf = g.stdio, "stdin and stdout", true
	case g.place.kind == kindExec:
		var c *command
		if c, err = startCommand(g.place.args, g.opts.errs); err == nil {
			s.end, s.whole = c, true
			s.who = fmt.Sprintf("the command %q, pid %d", g.place.args[0], c.cmd.Process.Pid)
		}
	case g.place.kind == kindName:
		s.local, err = dialFor(ctx, g.place.address, g.opts.wait, &standpipe.DialConfig{Policy: g.opts.server})
	default:
		var c net.Conn
		if c, err = g.dialNetwork(ctx); err == nil {
			s.end, s.who = g.wrap(c), c.RemoteAddr().String()
		}
	}
	if err != nil {
		return nil, err
	}
	if s.local != nil {
		s.end, s.who, s.whole = s.local, s.local.Identity().String(), !halfCloses
	}
	return s, nil
}

func (g *gate) wrap(c net.Conn) end {
	switch {
	case g.secure == nil:
		return c.(*net.TCPConn)
	case g.place.listens:
		return tls.Server(c, g.secure)
	}
	return tls.Client(c, g.secure)
}

// dialNetwork dials TCP, and tries again for as long as --wait says.
func (g *gate) dialNetwork(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, max(g.opts.wait, 10*time.Second))
	defer cancel()
	d := net.Dialer{}
	for until := time.Now().Add(g.opts.wait); ; {
		c, err := d.DialContext(ctx, "tcp", g.place.address)
		switch {
		case err == nil:
			return c, nil
		case !refused(err):
			return nil, err
		case time.Now().After(until):
			return nil, fmt.Errorf("%w: %w", standpipe.ErrNoServer, err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// refused says whether nobody listens there. Windows has a number of its own for it, WSAECONNREFUSED.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.Errno(10061))
}

// greet does what has to be done before bytes can pass: for TLS, its handshake.
func (s *side) greet(ctx context.Context) error {
	c, ok := s.end.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS with %s: %w", s.who, err)
	}
	if chain := c.ConnectionState().PeerCertificates; len(chain) > 0 {
		s.who += fmt.Sprintf(", certificate of %q", chain[0].Subject.String())
	}
	return nil
}
