package standpipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/windows"
)

// How a client comes in. At each of Backlog instances a goroutine stands, and no thread:
//
//	stand ── await ── meet ── successor ── offer ── accept
//	  ^        │        └─ (token only after the first bytes) ── hear ── offer
//	  └────────┴── the client has gone: the same instance again
//
// An instance's successor exists before the instance is handed out, so that the name never goes. Clients who are not
// accepted yet wait in their instances: at most Backlog of them are offered, Backlog are in the successors, and maxMute
// are listened to. All others find the pipe busy.

const (
	// maxMute is how many clients may be waited for at once until they say their first word.
	maxMute = 64
	// muteLimit is how long; a tenth of it where more than half of maxMute are waited for.
	muteLimit = 10 * time.Second
	// firstChunk is how many bytes of a first word are taken before its sender is known.
	firstChunk = 4096
)

type listener struct {
	instance
	rules *rules
	senses
	ready chan arrival
	mute  chan struct{} // a place for each client that is listened to
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	own    map[*endpoint]struct{} // what close has to close
}

// senses is how a listener finds out who its clients are.
type senses struct {
	take  tokenTaker
	limit time.Duration // for the first word
}

// arrival is a client, or why there can be none for now.
type arrival struct {
	end *endpoint
	err error
}

func listen(addr Addr, cfg ListenConfig, g *guard) (*listener, error) {
	return listenWith(addr, cfg, g, senses{(*endpoint).clientToken, muteLimit})
}

func listenWith(addr Addr, cfg ListenConfig, g *guard, by senses) (*listener, error) {
	l := &listener{
		instance: instance{path: addr.path, buffer: cfg.Buffer, messages: cfg.Messages, max: unlimited},
		senses:   by, ready: make(chan arrival), mute: make(chan struct{}, maxMute), own: map[*endpoint]struct{}{},
	}
	if l.buffer == 0 {
		l.buffer = defaultBuffer
	}
	if err := l.describe(cfg, g); err != nil {
		return nil, err
	}
	backlog := cfg.Backlog
	if backlog == 0 {
		backlog = min(runtime.NumCPU(), 16)
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	var ends []*endpoint
	for len(ends) < backlog {
		e, taken, err := l.instance.add(len(ends) == 0)
		if err != nil {
			l.close()
			return nil, listenError(addr, err, taken)
		}
		l.adopt(e)
		ends = append(ends, e)
	}
	var posted sync.WaitGroup
	for _, e := range ends {
		posted.Add(1)
		l.wg.Add(1)
		go l.stand(e, sync.OnceFunc(posted.Done))
	}
	posted.Wait()
	return l, nil
}

// describe makes the pipe's security descriptor.
func (l *listener) describe(cfg ListenConfig, g *guard) (err error) {
	if cfg.SDDL == "" {
		l.sd, err = windows.SecurityDescriptorFromString(g.sddl(currentUser()))
		return err
	}
	if l.sd, err = userDescriptor(cfg.SDDL); err != nil {
		return err
	}
	l.rules = &rules{sd: l.sd, policy: !cfg.Policy.isZero()}
	return ownAccess(l.sd)
}

// add is make, and says of an error whether the name is taken: FILE_CREATE answers ERROR_ACCESS_DENIED then, and also where
// it is forbidden. A name that was taken and is free a moment later is tried again.
func (in *instance) add(first bool) (e *endpoint, taken bool, err error) {
	for range 10 {
		if e, err = in.make(first); err == nil || opListen.means(err) != ErrInUse {
			return e, false, err
		}
		if pipeExists(in.path) {
			return nil, true, err
		}
	}
	return nil, false, err
}

func listenError(addr Addr, err error, taken bool) error {
	f := &fault{kind: opListen.means(err), cause: err}
	if f.kind == ErrInUse && !taken {
		f.kind = ErrDenied
	}
	switch f.kind {
	case ErrInUse:
		f.detail = fmt.Sprintf("there is a pipe %s already: it has a server, or connections of a server that has ended", addr.path)
	case ErrDenied:
		f.detail = fmt.Sprintf("this process may not make the pipe %s; below %s only administrators may, and a pipe's owner"+
			" must be its maker", addr.path, `ProtectedPrefix\Administrators`)
	case ErrBadName, ErrNameTooLong:
		f.detail = "Windows refuses " + addr.path
	default:
		return err
	}
	return f
}

// adopt: close closes e from now on. Where that was already, it is closed here, and the answer is no.
func (l *listener) adopt(e *endpoint) bool {
	e.rules = l.rules
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		e.Close()
		return false
	}
	l.own[e] = struct{}{}
	return true
}

// release: e is somebody else's from now on, unless close has it.
func (l *listener) release(e *endpoint) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	delete(l.own, e)
	return true
}

// stand waits for one client after the other.
func (l *listener) stand(e *endpoint, posted func()) {
	defer l.wg.Done()
	for {
		err := e.await(posted)
		if err == nil {
			err = l.recognize(e)
		}
		switch {
		case err == errGone:
			continue
		case errors.Is(err, net.ErrClosed):
			return
		case err == errMute:
			select {
			case l.mute <- struct{}{}:
			case <-l.ctx.Done():
				return
			}
		case err != nil:
			if !l.complain(err, 100*time.Millisecond) {
				return
			}
			continue
		}
		next := l.successor()
		if next == nil {
			return
		}
		if err == errMute {
			l.wg.Add(1)
			go l.hear(e)
		} else {
			l.offer(arrival{end: e})
		}
		e = next
	}
}

// errMute: who the client is can be known after its first write only.
var errMute = errors.New("the client has not said anything yet")

// recognize finds out who the client is. That it can't be found out is for Accept to judge.
func (l *listener) recognize(e *endpoint) error {
	err := e.meet(l.take)
	if err == windows.ERROR_CANNOT_IMPERSONATE {
		return errMute
	}
	if !errors.Is(err, net.ErrClosed) {
		e.idErr, err = err, nil
	}
	return err
}

// hear waits for a client's first bytes, and then for whom they are from. Accept gets client and bytes.
func (l *listener) hear(e *endpoint) {
	defer l.wg.Done()
	defer func() { <-l.mute }()
	limit := l.limit
	if len(l.mute) > maxMute/2 {
		limit /= 10
	}
	err := e.hearFirst(limit)
	if err == nil {
		err = e.meet(l.take)
	}
	if err == io.EOF { // it came and went
		if l.release(e) {
			e.Close()
		}
		return
	}
	e.idErr = err
	l.offer(arrival{end: e})
}

func (e *endpoint) hearFirst(limit time.Duration) error {
	e.SetReadDeadline(time.Now().Add(limit))
	e.r.turn.Lock()
	b := make([]byte, firstChunk)
	n, err := e.readSome(b)
	if err == io.ErrShortBuffer {
		e.firstCut, err = true, nil
	}
	e.first = b[:n]
	e.r.turn.Unlock()
	e.SetReadDeadline(time.Time{})
	return err
}

// successor makes an instance, as soon as one can be made; nil: the listener was closed.
func (l *listener) successor() *endpoint {
	pause := 10 * time.Millisecond
	for {
		e, err := l.instance.make(false)
		if err == nil {
			if l.adopt(e) {
				return e
			}
			return nil
		}
		if !l.complain(fmt.Errorf("no further instance of the pipe can be made: %w", err), pause) {
			return nil
		}
		pause = min(2*pause, time.Second)
	}
}

// complain tells somebody who accepts, and pauses. The answer is no where the listener was closed.
func (l *listener) complain(err error, pause time.Duration) bool {
	return l.offer(arrival{err: err}) && newBackoff(pause, pause).wait(l.ctx) == nil
}

func (l *listener) offer(a arrival) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.ctx.Done():
		return false
	}
}

func (l *listener) accept() (*endpoint, error) {
	if l.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	select {
	case a := <-l.ready:
		switch {
		case a.err != nil:
			return nil, a.err
		case l.release(a.end):
			return a.end, nil
		}
		return nil, net.ErrClosed
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// close returns when every instance that nobody accepted is closed, and no goroutine is left.
func (l *listener) close() error {
	l.stop()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for e := range l.own { // nothing comes or goes any more
		e.Close()
	}
	l.wg.Wait()
	return nil
}
