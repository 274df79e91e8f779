package main

import "github.com/standpipe/standpipe"

// Two programs that speak our wire offer each other shared memory by the line `share` of their hello (spec/memory.md, 4.1).
// Behind a relay that works only where the relay can pass on the descriptors. Otherwise the offer must not arrive: who had
// agreed would wait for memory that never comes, and end the connection.

// hider hides that line, byte by byte, so that nothing is held back: each byte of the value becomes '-', a kind that nobody has.
// What is not our wire passes as it is.
type hider struct {
	state int
	at    int // bytes of what is looked for that were there
}

const (
	hiderStart = iota // of the stream
	hiderKey          // of a line
	hiderValue        // of `share`
	hiderSkip         // the rest of a line
	hiderOff          // nothing more to hide
)

const (
	helloStart = "standpipe "
	helloShare = "share: "
)

// hide changes b, the next bytes of the stream, and says whether it did.
func (h *hider) hide(b []byte) (hidden bool) {
	for i, c := range b {
		switch h.state {
		case hiderOff:
			return hidden
		case hiderStart:
			if c != helloStart[h.at] {
				h.state = hiderOff
			} else if h.at++; h.at == len(helloStart) {
				h.state = hiderSkip
			}
		case hiderKey:
			switch {
			case c == '\n' && h.at == 0:
				h.state = hiderOff
			case c == '\n':
				h.at = 0
			case c != helloShare[h.at]:
				h.state = hiderSkip
			default:
				if h.at++; h.at == len(helloShare) {
					h.state = hiderValue
				}
			}
		case hiderValue, hiderSkip:
			if c == '\n' {
				h.state, h.at = hiderKey, 0
			} else if h.state == hiderValue {
				b[i], hidden = '-', true
			}
		}
	}
	return hidden
}

// whyNoShare says why memory can't be shared through a relay between a and b; "": it can.
//
// Who shares memory with another user copies what it gets, since that could be changed while it is read. It would take the relay's
// user for the one at the other end, and not do so.
func whyNoShare(a, b *side) string {
	switch {
	case a.local == nil || b.local == nil:
		return "only two sockets of this machine can pass it on"
	case !handlesTravel:
		return "on this system a relay can't pass handles on"
	case !(standpipe.Policy{}).Admits(a.local.Identity()) || !(standpipe.Policy{}).Admits(b.local.Identity()):
		return "the two sides are not both of this relay's own user"
	}
	return ""
}
