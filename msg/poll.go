package msg

// Arrived says whether something has come through the ring that nobody has received, or receives now. Anybody may ask.
func (ch *Channel) Arrived() bool {
	if !ch.r.mu.TryLock() {
		return false
	}
	defer ch.leave()
	return ch.polls() && (ch.r.j > ch.r.i || ch.r.ring.Ready())
}

// Poll takes what the peer has released, of what has come through the ring, up to the next message, and says whether RecvInto would not wait for
// that. It does not wait itself. It is for packages that build on this one, whose users may be about to want memory while nobody receives; like
// RecvInto, it may be called by one goroutine at a time.
func (ch *Channel) Poll() bool {
	ch.r.mu.Lock()
	defer ch.leave()
	if !ch.polls() {
		return false
	}
	ch.r.more = ch.r.poll()
	return ch.r.more
}

// polls: there is a ring, whose memory is still there. r.mu is held.
func (ch *Channel) polls() bool {
	return ch.r.ring != nil && ch.r.err == nil && !ch.reaped && !ch.r.leaving.Load()
}

// poll leaves all that is not simple to those who may wait: what is large, what has Buffers, which may be yet to be announced, and whatever is wrong.
func (r *reader) poll() bool {
	for !r.holds {
		for r.j-r.i >= headerSize {
			h, err := parseHeader(r.buf[r.i:r.j], r.lim)
			if err != nil {
				return true
			}
			size := headerSize + int(h.length)
			if size > mostLent || h.kind == kindMessage && h.buffers > 0 || h.kind != kindMessage && h.kind != kindRelease {
				return false
			}
			if r.j-r.i < size {
				break
			}
			if h.kind == kindMessage {
				return true
			}
			at := r.i
			r.i += headerSize
			if r.control(h) != nil {
				r.i = at
				return true
			}
			r.got += int64(size)
		}
		if !r.ring.Ready() || r.fill(0) != nil {
			return false
		}
	}
	return false
}
