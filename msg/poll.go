package msg

// Arrived says whether something has come through the ring that nobody has received, or receives now. Anybody may ask.
func (ch *Channel) Arrived() bool {
	if !ch.tryPoll() {
		return false
	}
	defer ch.leave()
	return ch.r.j > ch.r.i || ch.r.wrong != nil || ch.r.ring.Ready()
}

// Poll takes what the peer has released, of what has come through the ring, up to the next message, and says whether RecvInto would not wait for
// that. It does not wait itself. What it leaves, since it may not be whole, or is large, Arrived says: that is for a RecvInto that may wait. It is for packages
// that build on this one, whose users may be about to want memory while nobody receives. Like RecvInto, it may be called by one goroutine at a
// time, and overwrites what the last RecvInto has lent.
func (ch *Channel) Poll() bool {
	if !ch.tryPoll() {
		return false
	}
	defer ch.leave()
	ready := ch.r.poll()
	ch.r.more = ready || ch.r.ready()
	return ready
}

// tryPoll takes the reader's lock where nobody has it and the stream comes through a ring, whose memory is still there. Until there is a ring it leaves the lock
// alone: before the hello, whoever has that is to read it.
func (ch *Channel) tryPoll() bool {
	if ch.sh.ring.Load() == nil || !ch.r.mu.TryLock() {
		return false
	}
	if ch.r.ring != nil && ch.r.err == nil && !ch.reaped && !ch.r.leaving.Load() {
		return true
	}
	ch.leave()
	return false
}

// poll leaves all that is not simple to those who may wait: what is large, what has Buffers, which may be yet to be announced, and what is no frame of the ring's.
func (r *reader) poll() bool {
	for !r.holds && r.wrong == nil {
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
			r.i += headerSize
			r.got += int64(size)
			if r.wrong = r.control(h); r.wrong != nil {
				return true
			}
		}
		n := r.ring.TryRead(r.room(0))
		if n == 0 {
			return false
		}
		r.came(n)
	}
	return r.wrong != nil
}
