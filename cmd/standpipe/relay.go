package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
)

const placesText = `A and B are each one of

  NAME            one of our names, the path of a Unix socket, \\.\pipe\..., "@name"
  tcp:HOST:PORT   TCP; without HOST it is localhost
  tls:HOST:PORT   TLS
  stdio           stdin and stdout of this program
  exec:COMMAND    those of a command, which is started for each client; ' and " keep spaces together`

func newRelay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "relay A B",
		Short: "Connect two places: names, sockets, pipes, TCP, TLS, stdio, commands",
		Long: `relay listens at A, and connects each client to B. ` + placesText + `

With connect: in front A is connected to instead, once; with listen: in front B is listened at, and each client of A waits for one of B.

The end of one way is told to the other side, where that can be told. The server sees the relay as its client, not who connects to it. Shared memory
works through a relay between two sockets of this machine, of this user; elsewhere the two programs are kept from offering it.`,
		Example: `  standpipe relay tcp:localhost:7000 calc
  standpipe relay agent "exec:ssh host standpipe relay stdio agent"
  standpipe relay /tmp/mine/docker.sock tcp:localhost:2375`,
		Args: arguments(2, 2, "A B"),
	}
	cmd.ValidArgsFunction = completeNames
	opts := relayFlags(cmd)
	verbose := cmd.Flags().BoolP("verbose", "v", false, "say who comes and goes, to stderr")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := opts()
		if err != nil {
			return err
		}
		a, err := parsePlace(args[0], true)
		if err != nil {
			return err
		}
		b, err := parsePlace(args[1], false)
		if err != nil {
			return err
		}
		r := &relay{opts: o}
		if *verbose {
			r.log = func(text string) { fmt.Fprintln(o.errs, text) }
		}
		return r.run(cmd.Context(), a, b)
	}
	return cmd
}

// relayOptions are the flags of relay and trace.
type relayOptions struct {
	policy, server                            standpipe.Policy
	guarded, chosen                           bool // policy, and server, were given
	remote                                    bool
	wait, linger                              time.Duration
	clients                                   int
	cert, key, roots, clientRoots, serverName string
	in                                        io.Reader
	out, errs                                 io.Writer
}

// relayFlags adds the flags of relay and trace, and returns what they were set to.
func relayFlags(cmd *cobra.Command) func() (*relayOptions, error) {
	o := &relayOptions{}
	flags := cmd.Flags()
	policy := policyFlag(cmd, "who may connect to a name that is listened at (default: you)")
	server := flags.String("server", "", "who may be serving a name that is connected to (default: you or the superuser), as --policy says it")
	flags.BoolVar(&o.remote, "remote", false, "listen at TCP addresses that other machines can reach")
	flags.DurationVar(&o.wait, "wait", 0, "how long to wait for a server to come up")
	linger := lingerFlag(cmd)
	flags.IntVar(&o.clients, "clients", 1000, "how many clients may be connected at once; others wait")
	flags.StringVar(&o.cert, "cert", "", "TLS: the file of the certificate, to listen, or for a server that asks for one")
	flags.StringVar(&o.key, "key", "", "TLS: the file of its key")
	flags.StringVar(&o.roots, "ca", "", "TLS: the file of certificates that servers are checked against (default: the system's)")
	flags.StringVar(&o.clientRoots, "client-ca", "", "TLS: let in only clients with a certificate of these")
	flags.StringVar(&o.serverName, "server-name", "", "TLS: the server's name in its certificate (default: HOST)")
	return func() (*relayOptions, error) {
		o.linger, o.in, o.out, o.errs = *linger, cmd.InOrStdin(), cmd.OutOrStdout(), &lockedWriter{w: cmd.ErrOrStderr()}
		o.guarded, o.chosen = flags.Changed("policy"), *server != ""
		if o.clients < 1 {
			return nil, usagef("--clients is %d; it must be at least 1", o.clients)
		}
		var err error
		if o.policy, err = policy(); err != nil {
			return nil, err
		}
		if o.chosen {
			if o.server, err = standpipe.ParsePolicy(*server); err != nil {
				return nil, usageError{err}
			}
		}
		return o, nil
	}
}

// tls is how TLS is spoken, by a server or a client.
func (o *relayOptions) tls(server bool) (*tls.Config, error) {
	c := &tls.Config{ServerName: o.serverName}
	if o.cert != "" || o.key != "" || server {
		if o.cert == "" || o.key == "" {
			return nil, usagef("to listen, TLS needs a certificate and its key: --cert FILE --key FILE")
		}
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, usagef("--cert and --key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	var err error
	if server && o.clientRoots != "" {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs, err = readRoots("--client-ca", o.clientRoots)
	} else if !server && o.roots != "" {
		c.RootCAs, err = readRoots("--ca", o.roots)
	}
	return c, err
}

func readRoots(flag, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("%s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, usagef("%s: there is no certificate in %s", flag, file)
	}
	return pool, nil
}

// relay connects the clients of one gate with another.
type relay struct {
	opts    *relayOptions
	log     func(string)                              // who comes and goes; nil: it is not said
	tap     func(n int64, a, b *side, why string) tap // nil: nobody looks; why memory is not shared
	hide    string                                    // why memory is not to be shared at all; "": it may be
	a, b    *gate
	hidden  sync.Once
	clients atomic.Int64
}

func (r *relay) run(ctx context.Context, a, b place) (err error) {
	if err := r.check(a, b); err != nil {
		return err
	}
	if r.b, err = newGate(b, r.opts); err != nil {
		return err
	}
	defer r.b.close()
	if r.a, err = newGate(a, r.opts); err != nil {
		return err
	}
	defer r.a.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { r.a.close(); r.b.close() })
	defer stop()
	if err := r.announce(); err != nil {
		return err
	}
	if !a.listens {
		s, err := r.a.open(ctx)
		if err == nil {
			err = r.connect(ctx, s)
		}
		return err
	}
	return interrupted(ctx, r.serve(ctx))
}

// check refuses what can't be meant.
func (r *relay) check(a, b place) error {
	names := func(listens bool) bool {
		return a.kind == kindName && a.listens == listens || b.kind == kindName && b.listens == listens
	}
	switch {
	case a.kind == kindStdio && b.kind == kindStdio:
		return usagef("stdio can be one side only")
	case r.opts.guarded && !names(true):
		return advisedf("listen at a name instead; TLS lets in whom --client-ca says",
			"--policy is for a name that is listened at: over TCP nobody can be told who connects")
	case r.opts.chosen && !names(false):
		return usagef("--server is for a name that is connected to")
	}
	return nil
}

// announce prints that clients may come, and what gets lost on the way.
func (r *relay) announce() error {
	out := r.opts.out
	if r.a.stdio != nil || r.b.stdio != nil {
		out = r.opts.errs
	}
	for _, g := range []*gate{r.a, r.b} {
		if line := g.ready(); line != "" {
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		}
		if g.ln != nil && (g.secure == nil || g.secure.ClientCAs == nil) {
			r.note("whoever can reach %s can connect, any user's programs among them, and is taken for you", g.ln.Addr())
		}
	}
	if r.b.place.kind == kindName && !r.b.place.listens {
		r.note("%s sees this program as its client (this user, pid %d), not who connects to it", r.b.place.text, os.Getpid())
	}
	for _, g := range []*gate{r.a, r.b} {
		if g.place.kind == kindName && !halfCloses {
			r.note("%s is a pipe, which can't be half closed: it is not told the end of one way, and is closed when the other was silent for %v",
				g.place.text, r.opts.linger)
		}
	}
	return nil
}

func (r *relay) note(format string, args ...any) {
	fmt.Fprintf(r.opts.errs, "note: "+format+"\n", args...)
}

// serve takes clients until ctx ends.
func (r *relay) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel() // ends those that run
	slots := make(chan struct{}, r.opts.clients)
	for failed := 0; ; {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s, err := r.a.open(ctx)
		if err != nil {
			if failed++; failed > 8 || errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return err
			}
			<-slots
			fmt.Fprintln(r.opts.errs, "standpipe:", err)
			select {
			case <-time.After(100 * time.Millisecond): // such as too many open files: it may pass
			case <-ctx.Done():
			}
			continue
		}
		failed = 0
		running.Go(func() {
			defer func() { <-slots }()
			if err := r.connect(ctx, s); err != nil && ctx.Err() == nil {
				fmt.Fprintln(r.opts.errs, "standpipe:", err)
			}
		})
	}
}

// connect connects one client with the other gate, and returns when both have ended.
func (r *relay) connect(ctx context.Context, a *side) error {
	n := r.clients.Add(1)
	stop := context.AfterFunc(ctx, func() { a.Close() })
	defer stop()
	err := a.greet(ctx)
	var b *side
	if err == nil {
		b, err = r.b.open(ctx)
	}
	if err == nil {
		if err = b.greet(ctx); err != nil {
			b.Close()
		}
	}
	if err != nil {
		a.Close()
		return err
	}
	p := &pair{a: a, b: b, linger: r.opts.linger}
	why := r.hide
	if why == "" {
		why = whyNoShare(a, b)
	}
	p.hide = why != ""
	if r.tap != nil {
		p.tap = r.tap(n, a, b, why)
	}
	r.say("%d: open: %s, and %s", n, a.who, b.who)
	err = p.run(ctx)
	r.report(n, p, why)
	if err != nil && r.a.place.listens { // clients that go when they like are nothing to tell of
		r.say("%d: %v", n, err)
		err = nil
	}
	if err == nil {
		err = errors.Join(a.failure(), b.failure())
	}
	return err
}

// report says how a client's connection was.
func (r *relay) report(n int64, p *pair, why string) {
	if p.there.hidden || p.back.hidden {
		r.hidden.Do(func() { r.note("the programs offered each other shared memory, and the offer was hidden: %s", why) })
	}
	if lost := p.there.lost + p.back.lost; lost > 0 {
		r.note("%d: %d files were handed over, and lost: they can't go on from here", n, lost)
	}
	r.say("%d: closed: %d bytes to %s, %d back", n, p.there.bytes.Load(), strings.TrimPrefix(p.b.place.text, "exec:"), p.back.bytes.Load())
}

func (r *relay) say(format string, args ...any) {
	if r.log != nil {
		r.log(fmt.Sprintf(format, args...))
	}
}
