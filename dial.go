package standpipe

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DialConfig says how Dial connects. A nil *DialConfig and the zero one are the safe default.
type DialConfig struct {
	// Policy: who may be serving. Zero: the current user or the superuser (root; SYSTEM or the Administrators).
	Policy Policy

	// Wait tries again, until ctx ends, while nobody is listening.
	Wait bool

	// Messages must be what the server's ListenConfig.Messages is.
	Messages bool
}

// Dial connects to the endpoint called name. See ParseAddr for names.
//
// Before it returns, the server's Identity was held against the Policy: not a byte has gone to a server that is not
// admitted (ErrWrongServer). While the server has no room for one more client, Dial waits. It ends with ctx, whose error
// is then in the chain. Other errors: ErrNoServer, ErrStale, ErrDenied, ErrNotSocket, ErrMessages, ErrBadName,
// ErrNameTooLong.
func Dial(ctx context.Context, name string, cfg *DialConfig) (*Conn, error) {
	if cfg == nil {
		cfg = &DialConfig{}
	}
	addr, err := parseAddr(name)
	if err != nil {
		return nil, opError("dial", Addr{name: name, path: name}, err)
	}
	g, err := cfg.Policy.compile(Policy{self: true}.Or(superuser()))
	if err != nil {
		return nil, opError("dial", addr, err)
	}
	end, err := dialWait(ctx, addr, *cfg)
	if err != nil {
		return nil, opError("dial", addr, err)
	}
	id, err := end.identity()
	if err == nil {
		err = g.check(id, ErrWrongServer, "the server")
	}
	if err != nil {
		end.Close()
		return nil, opError("dial", addr, err)
	}
	return newConn(end, addr, id, nil), nil
}

// dialWait tries until somebody listens, where that is wanted.
func dialWait(ctx context.Context, addr Addr, cfg DialConfig) (*endpoint, error) {
	pause := newBackoff(5*time.Millisecond, 100*time.Millisecond)
	for {
		end, err := dial(ctx, addr, cfg)
		if !cfg.Wait || !errors.Is(err, ErrNoServer) {
			return end, err
		}
		if ctxErr := pause.wait(ctx); ctxErr != nil {
			return nil, &fault{kind: ErrNoServer, detail: "waited until the context ended", cause: ctxErr}
		}
	}
}

// backoff is a pause that doubles, up to a limit. Waiting costs no thread and no spinning.
type backoff struct{ next, max time.Duration }

func newBackoff(first, max time.Duration) *backoff { return &backoff{first, max} }

func (b *backoff) wait(ctx context.Context) error {
	t := time.NewTimer(b.next)
	defer t.Stop()
	b.next = min(2*b.next, b.max)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return contextError(ctx)
}

// contextError is why ctx has ended: its error, and its cause where that is another.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
