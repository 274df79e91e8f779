package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// stream takes one direction's bytes as they come, and cuts them into what spec/wire.md has: the hello, and frames. It keeps no
// more of a message than mostKept, whatever a length says. What is not our wire is given as it is.
type stream struct {
	got    []byte // of what is not whole yet
	state  int
	head   frameHead
	refs   []byte
	body   []byte // what is kept of the frame's body
	left   uint64 // bytes of the body that have not come
	deal   func(part)
	broken string // why it is not our wire
}

const (
	streamHello   = iota
	streamHead    // of a frame
	streamRefs    // behind it
	streamBody    // the rest
	streamForeign // not our wire
	mostKept      = 128 << 10
	mostHello     = 4096
	mostRefs      = 64
	lengthOfHead  = 8
	lengthOfRef   = 16
)

// frameHead is the 8 bytes in front of each frame.
type frameHead struct {
	length  uint32
	kind    uint8
	flags   uint8
	buffers int
}

// The kinds of frames.
const (
	frameMessage = 1
	frameAbort   = 2
	frameSegment = 3
	frameRelease = 4
	frameRetire  = 5
	frameRing    = 6
	frameBell    = 7
	framePiece   = 8
	frameDrop    = 9
	frameUnknown = 128 // and above: to be ignored
)

// part is what a stream is cut into: a hello, a frame, or foreign bytes.
type part struct {
	hello   []string // its lines
	frame   *frameHead
	buffers []bufferRef
	body    []byte // of a frame, of a message the data only: as much as was kept
	size    uint64 // of the body, or of a message's data
	foreign []byte
	broken  string // why foreign bytes are foreign, where our wire had begun
}

// bufferRef is a reference of a message to a buffer.
type bufferRef struct {
	size    uint64
	segment uint32
	piece   uint32
}

// feed takes the next bytes. What it deals is lent.
func (s *stream) feed(b []byte) {
	for len(b) > 0 {
		switch s.state {
		case streamForeign:
			s.deal(part{foreign: b, broken: s.broken})
			return
		case streamHello:
			b = s.feedHello(b)
		case streamHead:
			b = s.gather(b, lengthOfHead, s.beginFrame)
		case streamRefs:
			b = s.gather(b, s.head.buffers*lengthOfRef, s.beginBody)
		case streamBody:
			n := min(s.left, uint64(len(b)))
			if room := mostKept - len(s.body); room > 0 {
				s.body = append(s.body, b[:min(n, uint64(room))]...)
			}
			b, s.left = b[n:], s.left-n
			s.maybeFrame()
		}
	}
}

// gather collects n bytes, and calls whole with them.
func (s *stream) gather(b []byte, n int, whole func([]byte)) []byte {
	k := min(n-len(s.got), len(b))
	s.got = append(s.got, b[:k]...)
	if len(s.got) == n {
		got := s.got
		s.got = s.got[:0]
		whole(got)
	}
	return b[k:]
}

// foreign gives what was held back, and all that comes, as bytes that are not our wire.
func (s *stream) foreign(why string) {
	got := s.got
	s.state, s.got, s.broken = streamForeign, nil, why
	if len(got) > 0 {
		s.deal(part{foreign: got, broken: why})
	}
}

func (s *stream) feedHello(b []byte) []byte {
	n := len(s.got)
	s.got = append(s.got, b[:min(len(b), mostHello-n)]...)
	taken := len(s.got) - n
	if k := min(len(s.got), len(helloStart)); string(s.got[:k]) != helloStart[:k] {
		s.foreign("")
		return b[taken:]
	}
	end := bytes.Index(s.got, []byte("\n\n"))
	if end < 0 {
		if len(s.got) == mostHello {
			s.foreign("its hello is too long")
		}
		return b[taken:]
	}
	lines := strings.Split(string(s.got[:end]), "\n")
	s.got, s.state = s.got[:0], streamHead
	s.deal(part{hello: lines})
	if version := strings.TrimPrefix(lines[0], helloStart); version != "1" {
		s.foreign(fmt.Sprintf("version %q of the wire is not known", version))
	}
	return b[end+2-n:]
}

func (s *stream) beginFrame(b []byte) {
	s.head = frameHead{binary.LittleEndian.Uint32(b), b[4], b[5], int(binary.LittleEndian.Uint16(b[6:]))}
	s.refs, s.body = s.refs[:0], s.body[:0]
	if s.head.flags != 0 || s.head.kind == 0 || s.head.kind > frameDrop && s.head.kind < frameUnknown {
		s.got = b // it is shown
		s.foreign(fmt.Sprintf("a frame has the kind %d and the flags %#x", s.head.kind, s.head.flags))
		return
	}
	if s.head.buffers > mostRefs || uint64(s.head.buffers)*lengthOfRef > uint64(s.head.length) {
		s.got = b
		s.foreign(fmt.Sprintf("a frame says that it has %d buffers in %d bytes", s.head.buffers, s.head.length))
		return
	}
	s.left = uint64(s.head.length) - uint64(s.head.buffers)*lengthOfRef
	if s.state = streamRefs; s.head.buffers == 0 {
		s.beginBody(nil)
	}
}

func (s *stream) beginBody(refs []byte) {
	s.refs, s.state = append(s.refs, refs...), streamBody
	s.maybeFrame()
}

// maybeFrame deals a frame that is whole.
func (s *stream) maybeFrame() {
	if s.left > 0 {
		return
	}
	p := part{frame: &s.head, body: s.body, size: uint64(s.head.length) - uint64(len(s.refs))}
	for refs := s.refs; len(refs) > 0; refs = refs[lengthOfRef:] {
		r := bufferRef{binary.LittleEndian.Uint64(refs), binary.LittleEndian.Uint32(refs[8:]), binary.LittleEndian.Uint32(refs[12:])}
		p.buffers = append(p.buffers, r)
		if r.segment == 0 && r.piece == 0 {
			p.size -= min(r.size, p.size) // its bytes are behind the data
		}
	}
	p.body = p.body[:min(uint64(len(p.body)), p.size)]
	s.state = streamHead
	s.deal(p)
}

// unfinished is how many bytes of something that is not whole have come.
func (s *stream) unfinished() uint64 {
	switch s.state {
	case streamBody:
		return uint64(s.head.length) - s.left + lengthOfHead
	case streamRefs:
		return uint64(len(s.got)) + lengthOfHead
	}
	return uint64(len(s.got))
}
