package standpipe

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// ListenConfig says how Listen listens. A nil *ListenConfig and the zero one are the safe default.
type ListenConfig struct {
	// Policy: who may connect. Zero: the current user.
	Policy Policy

	// Backlog is how many instances of a Windows pipe are posted ahead for clients who come at once. Zero:
	// min(NumCPU, 16). Elsewhere the kernel's queue serves, at its full length.
	Backlog int

	// MaxConns is how many accepted connections may be open at once. Zero: no limit. Above it, clients wait, in the
	// order of the kernel's queue, until a Conn is closed.
	MaxConns int

	// Buffer is the size of the kernel's buffer, in bytes. Zero: 64 KiB, or the system's default where that is more.
	// Unix counts a buffer for the side that sends: there it is what the server may have on its way.
	Buffer int

	// Messages keeps message boundaries: a message-type pipe, read in message mode; SOCK_SEQPACKET on Linux and
	// FreeBSD. macOS has nothing of the kind: errors.ErrUnsupported. See Conn.Read.
	Messages bool

	// SDDL, on Windows, replaces what Policy compiles to as the pipe's security descriptor. It must name an owner and a
	// DACL, and should grant clients 0x12019b and no more: with GENERIC_WRITE they could play server. The peer's token
	// is then checked against the descriptor itself, and against Policy only where one is set. Ignored elsewhere.
	SDDL string
}

// A Listener hands out connections from clients that its Policy admits. It implements net.Listener, and its methods may
// be called by several goroutines at once.
type Listener struct {
	addr    Addr
	guard   *guard
	l       *listener
	slots   chan struct{} // MaxConns; nil: no limit
	closing sync.Once
	closed  chan struct{}
	refused atomic.Int64
}

// Listen makes an endpoint and listens on it; clients can connect when it returns. See ParseAddr for names.
//
// A name that was left behind by a dead server is taken over. A name that somebody serves is ErrInUse. A file that is
// no endpoint is never removed (ErrNotSocket). A name of this user's own can't be opened to others: that is ErrBadName,
// and a "shared:" name or a path is the answer. Other errors: ErrBadName, ErrNameTooLong, ErrDenied where this process
// may not make the endpoint, and a Policy with a name that nobody has.
func Listen(name string, cfg *ListenConfig) (*Listener, error) {
	if cfg == nil {
		cfg = &ListenConfig{}
	}
	addr, err := parseAddr(name)
	if err != nil {
		return nil, opError("listen", Addr{name: name, path: name}, err)
	}
	l, err := newListener(addr, *cfg)
	if err != nil {
		return nil, opError("listen", addr, err)
	}
	return l, nil
}

func newListener(addr Addr, cfg ListenConfig) (*Listener, error) {
	switch {
	case cfg.Backlog < 0:
		return nil, fmt.Errorf("ListenConfig.Backlog is %d; it must not be negative", cfg.Backlog)
	case cfg.MaxConns < 0:
		return nil, fmt.Errorf("ListenConfig.MaxConns is %d; it must not be negative", cfg.MaxConns)
	case cfg.Buffer < 0 || cfg.Buffer > 1<<30:
		return nil, fmt.Errorf("ListenConfig.Buffer is %d; it must be between 0 and 1 GiB", cfg.Buffer)
	}
	g, err := cfg.Policy.compile(Policy{self: true})
	if err != nil {
		return nil, err
	}
	if addr.personal() && cfg.SDDL == "" && !g.onlyUser(currentUser()) {
		return nil, &fault{kind: ErrBadName, detail: fmt.Sprintf(
			"%q is this user's own name, which nobody else can reach, but the policy %q admits others; use %q or a path",
			addr.name, g.text, sharedPrefix+addr.name)}
	}
	l, err := listen(addr, cfg, g)
	if err != nil {
		return nil, err
	}
	ln := &Listener{addr: addr, guard: g, l: l, closed: make(chan struct{})}
	if cfg.MaxConns > 0 {
		ln.slots = make(chan struct{}, cfg.MaxConns)
	}
	return ln, nil
}

// Accept waits for the next client that the Policy admits; its dynamic type is *Conn. Others are turned away meanwhile:
// they see their connection end before a byte. After Close the error is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptConn is Accept with the type it has.
func (l *Listener) AcceptConn() (*Conn, error) {
	for {
		end, err := l.l.accept()
		if err != nil {
			return nil, opError("accept", l.addr, err)
		}
		id, err := end.identity()
		if err == nil {
			err = end.admitted(l.guard, id)
		}
		if err != nil {
			l.refused.Add(1)
			end.Close()
			continue
		}
		// Only now: those who are refused must not keep others waiting.
		if l.slots != nil {
			select {
			case l.slots <- struct{}{}:
			case <-l.closed:
				end.Close()
				return nil, opError("accept", l.addr, net.ErrClosed)
			}
		}
		return newConn(end, l.addr, id, l.release), nil
	}
}

func (l *Listener) release() {
	if l.slots != nil {
		<-l.slots
	}
}

// Close stops listening and frees the name, before it returns. It ends every Accept with net.ErrClosed; connections
// that were accepted stay. Clients that were not accepted yet see their connection end. A second Close returns
// net.ErrClosed. On Windows a pipe's name is taken until the last of its accepted connections is closed, too.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.closing.Do(func() {
		close(l.closed)
		err = l.l.close()
	})
	return opError("close", l.addr, err)
}

// Addr is where the Listener listens: an Addr.
func (l *Listener) Addr() net.Addr { return l.addr }

// Refused counts the clients that reached the endpoint but were turned away at Accept, because the Policy does not
// admit them. Whom the kernel kept out is not seen here.
func (l *Listener) Refused() int64 { return l.refused.Load() }
