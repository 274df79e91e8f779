package rpc

import (
	"context"
	"errors"
	"time"
)

var errSilent = errors.New("the other side has been silent, and has not answered a ping")

// keepAlive ends the connection when the other side does not answer. It looks every keepalive; who has said nothing since the
// last look is pinged, and who has said nothing since that is given up.
func (p *Peer) keepAlive() {
	timer := time.NewTicker(p.o.keepalive)
	defer timer.Stop()
	asked := false
	for seen := p.frames.Load(); ; {
		select {
		case <-timer.C:
		case <-p.ended:
			return
		}
		now := p.frames.Load()
		switch {
		case now != seen:
			seen, asked = now, false
		case asked:
			p.silent.Store(true)
			p.Close()
			return
		default:
			asked = true
			ctx, cancel := context.WithTimeout(p.ctx, p.o.keepalive) // the other side may not be reading
			p.ch.SendData(ctx, appendFrame(nil, 0, typePing, 0, 0))
			cancel()
		}
	}
}

// pong answers a ping, without making the reader wait.
func (p *Peer) pong() {
	if p.pinged.CompareAndSwap(false, true) {
		go func() {
			defer p.pinged.Store(false)
			p.ch.SendData(p.ctx, appendFrame(nil, 0, typePong, 0, 0))
		}()
	}
}
