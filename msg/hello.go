package msg

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Pure: a hello to and from bytes. spec/wire.md, section 1.

const (
	version   = 1
	magic     = "standpipe "
	maxHello  = 4096
	leastData = 64 << 10 // what everybody takes
)

// Hello is what one side says of itself at the start.
type hello struct {
	maxMessage uint32
	maxBuffers uint32
	share      string // the kind of segments; "": none
	ring       bool
	futex      bool
	keys       map[string]string // of the rooms above
}

func (h hello) append(b []byte) []byte {
	b = fmt.Appendf(b, "%s%d\nmax-message: %d\nmax-buffers: %d\n", magic, version, h.maxMessage, h.maxBuffers)
	if h.share != "" {
		b = fmt.Appendf(b, "share: %s\n", h.share)
	}
	if h.ring {
		b = append(b, "ring: 1\n"...)
	}
	if h.futex {
		b = append(b, "wake: futex\n"...)
	}
	for _, k := range slices.Sorted(maps.Keys(h.keys)) {
		b = fmt.Appendf(b, "%s: %s\n", k, h.keys[k])
	}
	return append(b, '\n')
}

var ownKeys = []string{"max-message", "max-buffers", "share", "ring", "wake"}

// check refuses keys of the rooms above that could not be read at the other side.
func (h hello) check() error {
	for k, v := range h.keys {
		if !validKey(k) || !validValue(v) || slices.Contains(ownKeys, k) {
			return fmt.Errorf("msg: Config.Keys: %q: %q can't go into a hello", k, v)
		}
	}
	if n := len(h.append(nil)); n > maxHello {
		return fmt.Errorf("msg: Config.Keys: the hello has %d bytes, over the limit of %d", n, maxHello)
	}
	return nil
}

// helloEnd finds the end of a hello in b: the number of its bytes, or 0 where more are needed. It refuses early what
// can't become one.
func helloEnd(b []byte) (int, error) {
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return 0, protocolError("the peer does not speak standpipe: it began with %q", b[:min(len(b), 24)])
	}
	n := bytes.Index(b, []byte("\n\n"))
	switch {
	case n >= 0 && n+2 <= maxHello:
		return n + 2, nil
	case n >= 0 || len(b) >= maxHello:
		return 0, protocolError("the hello is longer than %d bytes", maxHello)
	}
	return 0, nil
}

// parseHello reads a whole one, empty line included.
func parseHello(b []byte) (hello, error) {
	h := hello{maxMessage: leastData, keys: map[string]string{}}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n\n"), "\n")
	if v := strings.TrimPrefix(lines[0], magic); v != strconv.Itoa(version) {
		if _, err := strconv.ParseUint(v, 10, 32); err != nil || v[0] == '0' || v[0] == '+' {
			return h, protocolError("the peer does not speak standpipe: it began with %q", lines[0])
		}
		return h, protocolError("the peer speaks version %s of the wire, this side speaks version %d: use programs of the same age", v, version)
	}
	seen := map[string]bool{}
	for _, line := range lines[1:] {
		k, v, ok := strings.Cut(line, ": ")
		if !ok || !validKey(k) || !validValue(v) {
			return h, protocolError("the hello has the line %q, which is not `key: value`", line)
		}
		if seen[k] {
			return h, protocolError("the hello has %q twice", k)
		}
		seen[k] = true
		var err error
		switch k {
		case "max-message":
			h.maxMessage, err = parseLimit(k, v, leastData)
		case "max-buffers":
			h.maxBuffers, err = parseLimit(k, v, 0)
		case "share":
			h.share = v
		case "ring":
			h.ring = v == "1"
		case "wake":
			h.futex = v == "futex"
		default:
			h.keys[k] = v
		}
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

func parseLimit(k, v string, least uint64) (uint32, error) {
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil || n < least || v[0] == '+' {
		return 0, protocolError("the hello says %s: %q, which is not a number from %d to 4294967295", k, v, least)
	}
	return uint32(n), nil
}

func validKey(k string) bool {
	return len(k) >= 1 && len(k) <= 32 && !strings.ContainsFunc(k, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func validValue(v string) bool {
	if len(v) > 512 {
		return false
	}
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}
