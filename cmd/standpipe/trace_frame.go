package main

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/standpipe/standpipe/rpc"
)

// callFrame is what a message of a call says: spec/wire.md, section 3.
type callFrame struct {
	stream  uint32
	typ     uint8
	flags   uint8
	codec   int           // of open: its place in the opener's list
	limit   time.Duration // of open; 0: none
	method  string        // of open
	header  rpc.Metadata
	meta    rpc.Metadata
	code    rpc.Code // of close
	text    string   // of close: the error's
	details []rpc.Detail
	credit  uint32
	value   []byte // as much of it as was kept
	size    uint64 // of all of it
}

// The types of frames of calls, and their flags.
const (
	callOpen   = 1
	callData   = 2
	callClose  = 3
	callCredit = 4
	callDrain  = 5
	callPing   = 6
	callPong   = 7

	flagValue  = 0x01
	flagTime   = 0x02
	flagMeta   = 0x04
	flagHeader = 0x08
	flagStream = 0x10
	flagEnd    = 0x20
)

var errNoCall = errors.New("it is no whole frame of a call")

// cutter takes fields from the front of b; what is not there makes it bad, once and for all.
type cutter struct {
	b   []byte
	bad bool
}

func (c *cutter) take(n int) []byte {
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return make([]byte, min(n, 8)) // so that numbers can be read all the same
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *cutter) short() int { return int(binary.LittleEndian.Uint16(c.take(2))) }

// metadata takes a block.
func (c *cutter) metadata() rpc.Metadata {
	block := cutter{b: c.take(c.short())}
	md := rpc.Metadata{}
	for len(block.b) > 0 && !block.bad && !c.bad {
		key := string(block.take(int(block.take(1)[0])))
		value := string(block.take(block.short()))
		if !block.bad {
			md[key] = append(md[key], value)
		}
	}
	c.bad = c.bad || block.bad
	return md
}

// parseCall reads the data of a message, of which b is the beginning, and size the length of all.
func parseCall(b []byte, size uint64) (f callFrame, err error) {
	c := cutter{b: b}
	f.stream = binary.LittleEndian.Uint32(c.take(4))
	f.typ, f.flags = c.take(1)[0], c.take(1)[0]
	at6 := c.short()
	switch f.typ {
	case callOpen:
		f.codec = at6 & 0xff
		if f.flags&flagTime != 0 {
			f.limit = time.Duration(min(binary.LittleEndian.Uint64(c.take(8)), 1<<62))
		}
		if f.flags&flagMeta != 0 {
			f.meta = c.metadata()
		}
		f.method = string(c.take(at6 >> 8))
	case callData:
		if f.flags&flagMeta != 0 {
			f.header = c.metadata()
		}
	case callClose:
		f.code = rpc.Code(at6)
		if f.flags&flagHeader != 0 {
			f.header = c.metadata()
		}
		if f.flags&flagMeta != 0 {
			f.meta = c.metadata()
		}
	case callCredit:
		f.credit = binary.LittleEndian.Uint32(c.take(4))
	}
	if c.bad || f.typ == 0 || f.typ > callPong {
		return f, errNoCall
	}
	f.size = size - uint64(len(b)-len(c.b))
	if f.typ == callClose && f.code != rpc.OK {
		f.failure(&c)
		f.size = 0
	} else {
		f.value = c.b
	}
	return f, nil
}

// failure reads an answer's error; a cancel has none. What was cut off is not missed.
func (f *callFrame) failure(c *cutter) {
	if len(c.b) == 0 {
		return
	}
	f.text = string(c.take(c.short()))
	for n := c.short(); n > 0 && !c.bad; n-- {
		d := rpc.Detail{Type: string(c.take(c.short()))}
		d.Value = c.take(int(min(binary.LittleEndian.Uint32(c.take(4)), 1<<30)))
		if !c.bad {
			f.details = append(f.details, d)
		}
	}
}
