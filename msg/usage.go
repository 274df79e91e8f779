package msg

import "github.com/standpipe/standpipe/internal/ring"

// Usage is what a Channel has carried and has in use, for people and for monitoring. See Channel.Usage.
type Usage struct {
	// Sent and Received are the bytes of frames, with their headers, and of Buffers, wherever those travel.
	Sent, Received int64

	// Made is the bytes of memory for Buffers that this side shares with the peer, and Lent those of them that the peer has now. Taken is
	// the memory that the peer shares with this side.
	Made, Lent, Taken int64

	// Ring is the bytes of the two areas of the ring, and 0 where there is none. Most of it is never touched: see Config.Ring.
	Ring int64
}

// Usage looks at the Channel. It may be called at any time, also after Close, when all memory is given up.
func (ch *Channel) Usage() Usage {
	u := Usage{Received: ch.received()}
	ch.w.mu.Lock()
	u.Sent = ch.w.sent
	ch.w.mu.Unlock()
	if !ch.sh.agreed.Load() {
		return u
	}
	u.Made, u.Lent = ch.sh.maker.use()
	u.Taken = ch.sh.taker.use()
	if ch.sh.ring.Load() != nil {
		u.Ring = 2 * (ring.Head + ringRoom)
	}
	return u
}

// received does not wait for who receives, who may be waiting himself.
func (ch *Channel) received() int64 {
	if ch.r.mu.TryLock() {
		ch.r.received.Store(ch.r.got) // it must not be more now than later
		ch.leave()
	}
	return ch.r.received.Load()
}

func (k *maker) use() (sum, lent int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return 0, 0
	}
	for _, m := range k.all {
		if m.where == away {
			lent += int64(len(m.mem.Bytes()))
		}
	}
	return k.sum, lent
}

func (k *taker) use() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return 0
	}
	return k.sum
}

// carried counts Buffers that are sent in shared memory: they are in no frame.
func (w *writer) carried(bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && !w.closed {
		w.sent += bytes
	}
}
