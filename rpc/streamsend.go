package rpc

import (
	"errors"
	"io"

	"github.com/standpipe/standpipe/msg"
)

// transmit sends a data frame: b, with room for a header in front of the value, and tail. send is held. meta is the header, where it
// leaves with this frame.
func (s *stream) transmit(b, tail []byte, beside []msg.Buffer) error {
	s.current()
	n := int64(len(b)+len(tail)) + bytesOf(beside)
	if err := s.p.fits(s.ctx, len(b)+len(tail), beside); err != nil {
		return err
	}
	s.mu.Lock()
	for s.outEnd == nil && s.credit <= 0 {
		s.blocked = true
		s.p.waiting.Add(1)
		s.mu.Unlock()
		s.p.await(s.roomy)
		s.mu.Lock()
	}
	if err := s.outEnd; err != nil {
		s.mu.Unlock()
		return err
	}
	s.credit -= n
	s.sending++
	s.proof.sent += n
	mark, quick := s.p.quick(len(b) + len(tail))
	if s.proof.mark == 0 {
		s.proof.at, s.proof.mark = s.proof.sent, mark
	}
	s.mu.Unlock()
	var err error
	switch {
	case len(beside) > 0:
		err = s.p.ch.SendBuffers(s.ctx, beside, b, tail)
		if refused := unsendable(s.ctx, err); refused != nil {
			s.mu.Lock()
			s.credit += n
			s.proof.at -= n
			s.proof.sent -= n
			s.mu.Unlock()
			s.sent()
			return refused
		}
	default:
		err = s.p.send(s.ctx, quick, b, tail)
	}
	s.sent()
	if err != nil {
		return &Error{Code: Unavailable, Message: "the connection has ended: " + err.Error(), cause: err}
	}
	return nil
}

// sendHeader sends the handler's header, if it has not left; the first data frame is its last chance. empty: also where there is
// none, since somebody may wait to know that. send is held.
func (s *stream) sendHeader(empty bool) error {
	if s.ours || s.begun {
		return nil
	}
	s.begun = true
	header := s.hctx.takeHeader()
	if len(header) == 0 && !empty {
		return nil
	}
	return s.transmit(appendMetadata(appendFrame(nil, s.id, typeData, flagMeta, 0), header), nil, nil)
}

// closeSend says that nothing more comes from the opener.
func (s *stream) closeSend() error {
	s.send.Lock()
	defer s.send.Unlock()
	s.mu.Lock()
	err := s.outEnd
	s.mu.Unlock()
	if err == nil && s.ours {
		err = s.transmit(appendFrame(nil, s.id, typeData, flagEnd, 0), nil, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outEnd == nil || s.outEnd == io.EOF { // the other side may have ended it meanwhile
		s.outEnd = errSendClosed
	}
	if errors.Is(err, io.EOF) || err == errSendClosed {
		return nil
	}
	return err
}
