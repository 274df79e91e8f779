package msg

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
)

// Large buffers that are not in shared memory go in pieces, ahead of their message, so that nobody who has little to say waits for the
// whole of them. spec/wire.md, 2.7 and 2.8.

// sendPieces sends the bytes of a buffer, and returns its number. When ctx ends before all have left, the buffer is dropped.
func (ch *Channel) sendPieces(ctx context.Context, b []byte) (number uint32, err error) {
	ch.piecesSent++
	number = ch.piecesSent
	var head [pieceHead]byte
	binary.LittleEndian.PutUint32(head[:], number)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(b)))
	for begun := false; len(b) > 0; begun = true {
		if ctx.Err() != nil {
			if begun {
				ch.drop(number)
			} else {
				ch.piecesSent--
			}
			return 0, fmt.Errorf("msg: the message was not sent: %w", context.Cause(ctx))
		}
		p := b[:min(len(b), mostPiece)]
		if err := ch.w.send(ctx, false, header{uint32(pieceHead + len(p)), kindPiece, 0}, [][]byte{head[:], p}); err != nil {
			return 0, err
		}
		b = b[len(p):]
	}
	return number, nil
}

// drop does not wait.
func (ch *Channel) drop(number uint32) {
	ch.w.send(ended, false, header{4, kindDrop, 0}, [][]byte{binary.LittleEndian.AppendUint32(nil, number)})
}

// ended is a context for what is not to wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// lockPieces lets one message at a time send buffers in pieces: so they never are more than the peer takes.
func (ch *Channel) lockPieces(ctx context.Context) error {
	select {
	case ch.pieces <- struct{}{}:
		return nil
	default:
	}
	select {
	case ch.pieces <- struct{}{}:
		return nil
	case <-ch.over:
		return net.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("msg: the message was not sent: %w", context.Cause(ctx))
	}
}

func (ch *Channel) unlockPieces() { <-ch.pieces }

// arriving is a buffer that comes in pieces.
type arriving struct {
	b    []byte
	size int
}

// arrivals are those that have begun.
type arrivals struct {
	last uint32
	sum  uint64
	all  map[uint32]*arriving
}

// piece reads a piece, of which h is the header.
func (r *reader) piece(h header) (err error) {
	if r.filling == nil {
		if err := r.beginPiece(h); err != nil {
			return err
		}
	}
	a := r.filling
	if a.b, err = r.take(a.b, r.filled); err == nil {
		r.filling = nil
	}
	return err
}

// beginPiece finds what the piece goes to, and makes room for it there.
func (r *reader) beginPiece(h header) error {
	b, err := r.lend(pieceHead)
	if err != nil {
		return err
	}
	number, size := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint32(b[4:]))
	n := int(h.length) - pieceHead
	k := &r.arrivals
	a := k.all[number]
	switch {
	case a == nil && number != k.last+1:
		return protocolError("a piece is of buffer %d, which has not begun or has ended; number %d was the last that began", number, k.last)
	case a == nil && len(k.all) >= maxBuffers:
		return protocolError("more than %d buffers come in pieces at once", maxBuffers)
	case a == nil && uint64(size) > uint64(r.lim.buffers)-k.sum:
		return protocolError("buffers of %d bytes and one of %d come in pieces, above the limit of %d", k.sum, size, r.lim.buffers)
	case a == nil:
		a = &arriving{size: size}
		if k.all == nil {
			k.all = map[uint32]*arriving{}
		}
		k.all[number] = a
		k.last = number
		k.sum += uint64(size)
	case a.size != size:
		return protocolError("buffer %d has %d bytes in one piece's words, and %d in another's", number, a.size, size)
	}
	if n > a.size-len(a.b) {
		return protocolError("a piece of buffer %d has %d bytes where %d are missing", number, n, a.size-len(a.b))
	}
	if have := len(a.b); cap(a.b) < have+n { // as take does: not on the word of a size alone
		room := max(2*have, n)
		if n >= a.size/trust || have >= a.size/trust {
			room = a.size
		}
		a.b = append(make([]byte, 0, min(room, a.size)), a.b...)
	}
	r.filling, r.filled = a, len(a.b)+n
	return nil
}

// dropped: no message will refer to that buffer.
func (r *reader) dropped() error {
	b, err := r.lend(4)
	if err != nil {
		return err
	}
	_, err = r.arrivals.end(binary.LittleEndian.Uint32(b))
	return err
}

// arrived is the buffer that a reference means.
func (k *arrivals) arrived(f ref) (Buffer, error) {
	a, err := k.end(f.pieces)
	switch {
	case err != nil:
		return Buffer{}, err
	case len(a.b) != a.size || a.size != f.size:
		return Buffer{}, protocolError("a message has buffer %d with %d bytes, of whose %d bytes %d have come", f.pieces, f.size, a.size, len(a.b))
	}
	return privateBuffer(a.b[:f.size:f.size]), nil
}

func (k *arrivals) end(number uint32) (*arriving, error) {
	a := k.all[number]
	if a == nil {
		return nil, protocolError("buffer %d is not one that has come in pieces", number)
	}
	delete(k.all, number)
	k.sum -= uint64(a.size)
	return a, nil
}
