package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
)

// ServerConfig is how a Server serves. A nil *ServerConfig and the zero one are the safe default.
type ServerConfig struct {
	// Codec is what the server's own calls, back to its callers, are encoded with, and is taken besides MessagePack,
	// JSON and Protobuf. Zero: MessagePack.
	Codec Codec

	// MaxMessage is the most bytes of an encoded value; see msg.Config. Zero: 16 MiB.
	MaxMessage int

	// MaxCalls is how many calls of one peer run at once, 16 to 65535; the peer's further calls wait in the peer. Zero:
	// 1024.
	MaxCalls int

	// Drain is how long Serve waits, when its context has ended, for handlers that run. Zero: 5 seconds. Negative: not
	// at all.
	Drain time.Duration

	// MaxQueued is the most bytes of encoded values of one peer that are here: arguments of calls, until their handlers
	// return, and what waits in streams. Calls and streams above it fail with ResourceExhausted. Zero: 256 MiB. At least 64 KiB.
	MaxQueued int64

	// MaxShared is the most bytes of memory that each side shares with the other for Buffers; see msg.Config. Zero: 1 GiB. Negative: Buffers can't
	// be sent.
	MaxShared int64

	// Ring says whether small messages go through a ring in shared memory; see msg.Config. Zero: where that wins.
	Ring msg.RingMode

	// Keepalive is how long a peer may be silent until it is pinged; one that has not answered after as long again is given
	// up. Zero: never, since the end of a local peer ends the connection; it finds those that are stopped or stuck.
	Keepalive time.Duration

	// Wrap runs around all handlers, the first one outside.
	Wrap []Interceptor

	// Log is told of handlers that panic, and of connections that die of protocol errors. Zero: slog.Default().
	Log *slog.Logger
}

// A Server has methods, and serves them to many peers at once. Its methods may be called by several goroutines.
type Server struct {
	cfg ServerConfig

	routes atomic.Pointer[map[string]*route] // replaced whole

	mu       sync.Mutex
	docs     map[string]string
	policies map[string]standpipe.Policy

	census census
}

// noMethods is the server of those who have none.
var noMethods = newServer(nil)

// NewServer makes a Server without methods. It panics where the config can't be.
func NewServer(cfg *ServerConfig) *Server {
	s := newServer(cfg)
	s.tellsStats()
	return s
}

func newServer(cfg *ServerConfig) *Server {
	if cfg == nil {
		cfg = &ServerConfig{}
	}
	s := &Server{cfg: *cfg, docs: map[string]string{}, policies: map[string]standpipe.Policy{}}
	s.routes.Store(&map[string]*route{})
	s.census.began = time.Now()
	if s.cfg.Drain == 0 {
		s.cfg.Drain = 5 * time.Second
	}
	if err := s.options().check(); err != nil {
		panic(err) // a bug, as with regexp.MustCompile
	}
	s.describes()
	return s
}

func (s *Server) options() options {
	return options{codec: s.cfg.Codec, maxMessage: s.cfg.MaxMessage, maxCalls: s.cfg.MaxCalls, maxQueued: s.cfg.MaxQueued, maxShared: s.cfg.MaxShared, ring: s.cfg.Ring,
		keepalive: s.cfg.Keepalive, log: s.cfg.Log, server: s}.fill()
}

const reserved = "standpipe."

// handle adds a method. It panics on what only a bug can cause.
func (s *Server) handle(name string, r *route) {
	if strings.HasPrefix(name, reserved) {
		panic(fmt.Sprintf("rpc: the method %q has a name that is reserved", name))
	}
	s.add(name, r)
}

func (s *Server) add(name string, r *route) {
	if err := checkMethod(name); err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	routes := *s.routes.Load()
	if routes[name] != nil {
		panic(fmt.Sprintf("rpc: the method %q is handled twice", name))
	}
	r.name = name
	r.small.slow.Store(firstSlow)
	r.large.slow.Store(firstSlow)
	if policy, ok := s.policies[name]; ok {
		r.policy.Store(&policy)
	}
	routes = maps.Clone(routes)
	routes[name] = r
	s.routes.Store(&routes)
}

// Require makes the server refuse, with PermissionDenied, calls of method by peers that p does not admit: it may ask for more
// than the endpoint does. A later Require of the same method replaces p. A name that the system does not know admits nobody.
func (s *Server) Require(method string, p standpipe.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies[method] = p
	if r := (*s.routes.Load())[method]; r != nil {
		r.policy.Store(&p)
	}
}

// admit says why the peer may not call r, if so.
func (r *route) admit(p *Peer) *Error {
	policy := r.policy.Load()
	if policy == nil {
		return nil
	}
	admitted, known := p.admitted.Load(policy)
	if !known { // once for each connection: names are looked up in the system's files
		admitted = policy.Admits(p.Identity())
		p.admitted.Store(policy, admitted)
	}
	if id := p.Identity(); admitted == false {
		return Errorf(PermissionDenied, "the method %q is for %v, and the caller is %v", r.name, policy, id)
	}
	return nil
}

func checkMethod(method string) error {
	if method == "" || len(method) > 255 || !utf8.ValidString(method) {
		return fmt.Errorf("rpc: the method %q must have 1 to 255 bytes of UTF-8", method)
	}
	return nil
}

func (s *Server) lookup(name []byte) *route {
	return (*s.routes.Load())[string(name)]
}

// Serve accepts connections from ln and serves them, until ctx ends. Then it closes ln, tells the peers (see Peer.Draining), refuses
// further calls with Unavailable, waits up to ServerConfig.Drain for handlers that run, closes the connections, which ends the contexts of
// handlers that still run, and returns nil when those have returned: a handler that ignores its context holds Serve up. Where ln
// is closed or broken without ctx having ended, the connections are closed and its error is returned. Several Serves may
// run on one Server; ln belongs to Serve.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	var peers peerSet
	err := s.accept(ctx, ln, &peers)
	if ctx.Err() != nil {
		peers.drain(s.cfg.Drain)
		err = nil
	}
	peers.close()
	return err
}

// accept runs until ctx ends or ln is closed. Errors such as too many open files pass; they are waited out.
func (s *Server) accept(ctx context.Context, ln net.Listener, peers *peerSet) error {
	const patience = 100
	for failed := 0; ; {
		c, err := ln.Accept()
		if err == nil {
			failed = 0
			peers.add(c, s.options())
			continue
		}
		if failed++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failed > patience {
			return err
		}
		s.options().log.Warn("rpc: accept failed", "error", err, "attempt", failed)
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Duration(failed)*10*time.Millisecond, time.Second)):
		}
	}
}

// peerSet is the peers of one Serve.
type peerSet struct {
	mu    sync.Mutex
	peers map[*Peer]bool
	wg    sync.WaitGroup
}

func (ps *peerSet) add(c net.Conn, o options) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.peers == nil {
		ps.peers = map[*Peer]bool{}
	}
	ps.wg.Add(1)
	o.gone = ps.remove
	ps.peers[newPeer(c, o, false)] = true
}

// remove: p has ended, and none of its handlers runs.
func (ps *peerSet) remove(p *Peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.peers, p)
	ps.wg.Done()
}

func (ps *peerSet) list() []*Peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var list []*Peer
	for p := range ps.peers {
		list = append(list, p)
	}
	return list
}

// drain refuses new calls, and waits for those that run.
func (ps *peerSet) drain(limit time.Duration) {
	timeout := time.After(max(limit, 0))
	list := ps.list()
	for _, p := range list {
		p.drain()
	}
	for _, p := range list {
		select {
		case <-p.in.whenQuiet():
		case <-p.ended:
		case <-timeout:
			return
		}
	}
}

// close closes the connections, all at once since a peer that does not read takes its time, and waits for their handlers.
func (ps *peerSet) close() {
	for _, p := range ps.list() {
		go p.Close()
	}
	ps.wg.Wait()
}

// DialConfig is how Dial connects, and what the Peer does. A nil *DialConfig and the zero one are the safe default.
type DialConfig struct {
	// Policy and Wait: see standpipe.DialConfig. NewPeer does not use them.
	Policy standpipe.Policy
	Wait   bool

	// Codec is what calls are encoded with. Zero: MessagePack.
	Codec Codec

	// Server has the methods that the other side may call back. Zero: none.
	Server *Server

	// Wrap runs around what is called here, the first one outside.
	Wrap []Interceptor

	// MaxMessage, MaxCalls, MaxQueued, MaxShared, Ring, Keepalive and Log: see ServerConfig.
	MaxMessage int
	MaxCalls   int
	MaxQueued  int64
	MaxShared  int64
	Ring       msg.RingMode
	Keepalive  time.Duration
	Log        *slog.Logger
}

func (cfg *DialConfig) options() options {
	if cfg == nil {
		cfg = &DialConfig{}
	}
	return options{codec: cfg.Codec, maxMessage: cfg.MaxMessage, maxCalls: cfg.MaxCalls, maxQueued: cfg.MaxQueued, maxShared: cfg.MaxShared, ring: cfg.Ring,
		keepalive: cfg.Keepalive, wrap: cfg.Wrap, log: cfg.Log, server: cmp.Or(cfg.Server, noMethods)}.fill()
}

// Dial connects to the server called name, and exchanges hellos. Its errors are standpipe.Dial's, a *msg.ProtocolError
// where the server speaks something else, and an *Error with Unavailable where the connection ends at once.
func Dial(ctx context.Context, name string, cfg *DialConfig) (*Peer, error) {
	o := cfg.options()
	if err := o.check(); err != nil {
		return nil, err
	}
	var dc standpipe.DialConfig
	if cfg != nil {
		dc.Policy, dc.Wait = cfg.Policy, cfg.Wait
	}
	c, err := standpipe.Dial(ctx, name, &dc)
	if err != nil {
		return nil, err
	}
	p := newPeer(c, o, true)
	select {
	case <-p.greeted:
		return p, nil
	case <-p.ended:
		return nil, p.dialError()
	case <-ctx.Done():
		p.Close()
		return nil, &Error{Code: CodeOf(ctx.Err()), Message: "no hello came from the server", cause: context.Cause(ctx)}
	}
}

// NewPeer makes a Peer on the dialing end of a connection that is there already, which belongs to it from then on. The
// other end must be the listening one, such as what a Server accepted. What is wrong shows when it is used.
func NewPeer(c net.Conn, cfg *DialConfig) *Peer { return newPeer(c, cfg.options(), true) }
