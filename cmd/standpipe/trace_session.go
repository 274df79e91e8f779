package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/standpipe/standpipe/rpc"
)

// event is something that was seen in a trace, as it is shown.
type event struct {
	At      int64           `json:"at"` // nanoseconds since the trace began
	Conn    int64           `json:"conn"`
	Way     string          `json:"way,omitempty"`
	What    string          `json:"what"`
	Stream  uint32          `json:"stream,omitempty"`
	Method  string          `json:"method,omitempty"`
	Codec   string          `json:"codec,omitempty"`
	Code    string          `json:"code,omitempty"`
	Text    string          `json:"text,omitempty"`
	Size    uint64          `json:"size"`              // of the value, the message or the bytes
	Buffers int             `json:"buffers,omitempty"` // beside it
	Bulk    uint64          `json:"bulk,omitempty"`    // bytes of the buffers
	Shared  uint64          `json:"shared,omitempty"`  // of those, the ones in shared memory
	Took    int64           `json:"took,omitempty"`    // nanoseconds from the call to its answer, as seen here
	Limit   int64           `json:"limit,omitempty"`   // nanoseconds that a call may take
	Header  rpc.Metadata    `json:"header,omitempty"`
	Meta    rpc.Metadata    `json:"metadata,omitempty"` // the caller's, or the trailer
	Details []string        `json:"details,omitempty"`  // types of an error's details
	Value   json.RawMessage `json:"value,omitempty"`
	Bytes   []byte          `json:"bytes,omitempty"`  // that are not our wire
	Offset  uint64          `json:"offset,omitempty"` // of those, in all that came this way

	raw []byte // the value as it travels; lent
}

// session decodes one connection. It is fed with records, and gives events.
type session struct {
	conn  int64
	emit  func(*event)
	value bool // show values
	ways  map[string]*direction
	calls map[uint32]*openCall
	at    int64
	done  bool
}

// direction is what goes one way.
type direction struct {
	stream   stream
	calls    bool // its hello has codecs: what follows are calls
	codecs   []string
	files    []*os.File // that no segment has explained yet
	segments []bool     // that no file has come for yet: whether each is a ring's area
	area     *os.File
	foreign  uint64 // bytes that are not our wire
}

// openCall is a call that has no answer yet.
type openCall struct {
	method, codec string
	began         int64
}

func newSession(conn int64, value bool, emit func(*event)) *session {
	s := &session{conn: conn, emit: emit, value: value, calls: map[uint32]*openCall{}, ways: map[string]*direction{}}
	for _, way := range []string{toServer, toClient} {
		d := &direction{}
		d.stream.deal = func(p part) { s.part(way, d, p) }
		s.ways[way] = d
	}
	return s
}

// take takes the next record of this connection.
func (s *session) take(rec *record) {
	s.at = rec.At
	d := s.ways[rec.Way]
	switch {
	case rec.What == recOpen:
		text := fmt.Sprintf("client: %s; server: %s; ", rec.Client, rec.Server)
		if rec.Text == "" {
			text += "memory may be shared"
		} else {
			text += "no memory is shared: " + rec.Text
		}
		s.emit(&event{What: "open", Text: text, At: s.at, Conn: s.conn})
	case rec.What == recClose:
		s.done = true
		text := ""
		if open := s.unanswered(); len(open) > 0 {
			text = "no answer was seen to: " + strings.Join(open, " ")
		}
		s.emit(&event{What: "close", At: s.at, Conn: s.conn, Text: text})
	case d == nil: // a way that is none, in a broken file
	case rec.What == recBytes:
		d.stream.feed(rec.Bytes)
	case rec.What == recFiles:
		d.files = append(d.files, rec.taken...)
		d.explain()
		s.say(rec.Way, &event{What: "files", Text: fmt.Sprintf("%d files were handed over", rec.Files)})
	case rec.What == recBeside:
		s.say(rec.Way, &event{What: "beside", Size: rec.Size})
	case rec.What == recEnd:
		text := rec.Text
		if n := d.stream.unfinished(); n > 0 {
			text = strings.TrimSpace(fmt.Sprintf("%s behind %d bytes of something that is not whole", text, n))
		}
		s.say(rec.Way, &event{What: "end", Text: text})
	}
}

func (s *session) say(way string, e *event) {
	e.At, e.Conn, e.Way = s.at, s.conn, way
	s.emit(e)
}

// part is what a direction's stream was cut into.
func (s *session) part(way string, d *direction, p part) {
	switch {
	case p.hello != nil:
		for _, line := range p.hello[1:] {
			if list, ok := strings.CutPrefix(line, "codecs: "); ok {
				d.calls, d.codecs = true, strings.Fields(list)
			}
		}
		s.say(way, &event{What: "hello", Text: strings.Join(p.hello, " | ")})
	case p.frame == nil:
		if d.foreign == 0 && p.broken != "" {
			s.say(way, &event{What: "broken", Text: p.broken + ": what follows is shown as bytes"})
		}
		s.say(way, &event{What: "bytes", Size: uint64(len(p.foreign)), Bytes: p.foreign, Offset: d.foreign})
		d.foreign += uint64(len(p.foreign))
	case p.frame.kind == frameMessage:
		s.message(way, d, p)
	default:
		s.frame(way, d, p)
	}
}

// frame is one that is no message.
func (s *session) frame(way string, d *direction, p part) {
	e := &event{Size: p.size}
	switch p.frame.kind {
	case frameAbort:
		e.What, e.Text = "abort", strings.ToValidUTF8(string(p.body), "\uFFFD")
	case frameSegment:
		e.What = "segment"
		if len(p.body) == 24 {
			ring := binary.LittleEndian.Uint32(p.body[4:]) == 1
			e.Size = binary.LittleEndian.Uint64(p.body[8:])
			e.Text = fmt.Sprintf("%d", binary.LittleEndian.Uint32(p.body))
			if ring {
				e.Text += ", a ring's"
			}
			d.segments = append(d.segments, ring)
			d.explain()
		}
	case frameRelease, frameRetire:
		e.What = "release"
		if p.frame.kind == frameRetire {
			e.What = "retire"
		}
		var numbers []string
		for b := p.body; len(b) >= 4; b = b[4:] {
			numbers = append(numbers, fmt.Sprint(binary.LittleEndian.Uint32(b)))
		}
		e.Text = strings.Join(numbers, " ")
	case frameRing:
		e.What = "ring"
	case frameBell:
		e.What = "bell"
	case framePiece:
		e.What = "piece"
		if len(p.body) >= 8 {
			e.Text = fmt.Sprintf("of buffer %d, which has %d bytes", binary.LittleEndian.Uint32(p.body), binary.LittleEndian.Uint32(p.body[4:]))
		}
	case frameDrop:
		e.What = "drop"
	default:
		e.What, e.Text = "unknown", fmt.Sprintf("a frame of kind %d", p.frame.kind)
	}
	s.say(way, e)
}

// explain matches segments with their files. Only a ring's area is kept: it says at the end what has gone through it.
func (d *direction) explain() {
	for len(d.files) > 0 && len(d.segments) > 0 {
		if d.segments[0] && d.area == nil {
			d.area = d.files[0]
		} else {
			d.files[0].Close()
		}
		d.files, d.segments = d.files[1:], d.segments[1:]
	}
	if d.stream.state == streamForeign || len(d.files) > mostAhead {
		closeAll(d.files)
		d.files = nil
	}
}

// mostAhead is how many files may be ahead of their segments: spec/memory.md, 4.8.
const mostAhead = 64

// beside is how many bytes went through this way's ring: what the maker of its area says at the area's begin (spec/memory.md, 5.2).
func (d *direction) beside() uint64 {
	var head [8]byte
	if d.area == nil {
		return 0
	}
	if _, err := d.area.ReadAt(head[:], 0); err != nil {
		return 0 // a kind of memory that can only be mapped
	}
	return binary.LittleEndian.Uint64(head[:])
}

// release closes the files that are still here.
func (s *session) release() {
	for _, d := range s.ways {
		closeAll(d.files)
		if d.area != nil {
			d.area.Close()
		}
		d.files, d.area = nil, nil
	}
}

// message is one of a call, where the side that sent it speaks of calls.
func (s *session) message(way string, d *direction, p part) {
	e := &event{Size: p.size, Buffers: len(p.buffers)}
	for _, b := range p.buffers {
		e.Bulk += b.size
		if b.segment != 0 {
			e.Shared += b.size
		}
	}
	if !d.calls {
		e.What, e.raw = "message", p.body
		if s.value {
			e.Bytes = p.body
		}
		s.say(way, e)
		return
	}
	f, err := parseCall(p.body, p.size)
	if err != nil {
		e.What, e.Text, e.Bytes = "broken", err.Error(), p.body
		s.say(way, e)
		return
	}
	e.Stream, e.Size, e.Header, e.Meta = f.stream, f.size, f.header, f.meta
	s.call(way, d, &f, e)
	if s.value && f.flags&flagValue != 0 {
		value, why := showValue(e.Codec, f.value, f.size)
		if e.Value = value; why != "" {
			e.Text = why
		}
	}
	e.raw = f.value
	s.say(way, e)
}

// call fills in what a frame means for its call.
func (s *session) call(way string, d *direction, f *callFrame, e *event) {
	if c := s.calls[f.stream]; c != nil {
		e.Method, e.Codec = c.method, c.codec
	}
	switch f.typ {
	case callOpen:
		c := &openCall{method: f.method, codec: "?", began: s.at}
		if f.codec < len(d.codecs) {
			c.codec = d.codecs[f.codec]
		}
		s.calls[f.stream] = c
		e.What, e.Method, e.Codec, e.Limit = "call", c.method, c.codec, int64(f.limit)
		if f.flags&flagStream != 0 {
			e.What = "stream"
		}
	case callData:
		e.What = "data"
		if f.flags&flagValue == 0 && f.flags&flagEnd != 0 {
			e.What = "data-end"
		} else if f.flags&flagEnd != 0 {
			e.Text = "the last"
		} else if f.flags&flagValue == 0 {
			e.What = "header"
		}
	case callClose:
		e.What, e.Code, e.Text = "answer", f.code.String(), f.text
		for _, detail := range f.details {
			e.Details = append(e.Details, detail.Type)
		}
		if c := s.calls[f.stream]; c != nil {
			e.Took = s.at - c.began
		}
		if opener := wayOf(f.stream%2 == 1); way == opener {
			e.What = "cancel"
		} else {
			delete(s.calls, f.stream)
		}
	case callCredit:
		e.What, e.Size = "credit", uint64(f.credit)
	default:
		e.What = [...]string{callDrain: "drain", callPing: "ping", callPong: "pong"}[f.typ]
	}
}

// showValue is a value as JSON, or why it is not shown.
func showValue(codec string, b []byte, size uint64) (json.RawMessage, string) {
	if uint64(len(b)) < size {
		return nil, "the value is too long to be shown"
	}
	switch codec {
	case "json":
		var out bytes.Buffer
		if err := json.Compact(&out, b); err != nil {
			return nil, "the value is no JSON"
		}
		return out.Bytes(), ""
	case "msgpack":
		out, err := msgpackToJSON(b)
		if err != nil || !utf8.Valid(out) {
			return nil, "the value is no MessagePack"
		}
		return out, ""
	}
	text, err := json.Marshal(map[string][]byte{codec: b})
	if err != nil {
		return nil, err.Error()
	}
	return text, ""
}

// unanswered are the calls that have no answer, in order.
func (s *session) unanswered() (list []string) {
	for _, c := range s.calls {
		list = append(list, c.method)
	}
	slices.Sort(list)
	return list
}
