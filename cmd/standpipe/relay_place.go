package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/standpipe/standpipe"
)

// placeKind is what one side of a relay is.
type placeKind int

const (
	kindName  placeKind = iota // one of our names, a path of a socket or pipe
	kindTCP                    // HOST:PORT
	kindTLS                    // HOST:PORT
	kindStdio                  // this program's stdin and stdout
	kindExec                   // a command's stdin and stdout
)

// place is one side of a relay, as it was typed.
type place struct {
	text    string // without listen: and connect:
	kind    placeKind
	address string   // a name, or HOST:PORT
	args    []string // of a command
	listens bool
}

// parsePlace reads one. listens is what it does where it does not say so itself.
func parsePlace(text string, listens bool) (place, error) {
	p := place{text: text, listens: listens}
	said := false
	for prefix, does := range map[string]bool{"listen:": true, "connect:": false} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			p.text, p.listens, said = rest, does, true
		}
	}
	switch scheme, rest, _ := strings.Cut(p.text, ":"); {
	case p.text == "stdio" || p.text == "-":
		p.text, p.kind = "stdio", kindStdio
	case scheme == "exec":
		p.kind, p.args = kindExec, splitWords(rest)
		if len(p.args) == 0 {
			return p, usagef("exec: needs a command behind it, such as exec:'ssh host standpipe relay stdio calc'")
		}
	case scheme == "tcp" || scheme == "tls":
		p.kind = kindTCP
		if scheme == "tls" {
			p.kind = kindTLS
		}
		return p, p.setAddress(rest)
	default:
		p.address = p.text
		_, err := standpipe.ParseAddr(p.text)
		return p, err
	}
	if said && p.listens {
		return p, usagef("%s can't be listened on", p.text)
	}
	p.listens = false
	return p, nil
}

// setAddress takes HOST:PORT. A host that is not given is this machine: Go's would be all of its addresses.
func (p *place) setAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		return usagef("%s is not such as tcp:localhost:7000 or tls:HOST:PORT", p.text)
	}
	if host == "" {
		host = "localhost"
	}
	p.address = net.JoinHostPort(host, port)
	return nil
}

// splitWords splits a command at its spaces, but for those within ' or ". There are no escapes: a Windows path stays as it is.
func splitWords(text string) (words []string) {
	var word strings.Builder
	quote, inside := rune(0), false
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, inside = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words
}

// loopback says whether an address to listen on can be reached from this machine only.
func loopback(address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, err
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return false, fmt.Errorf("where to listen: %w", err)
	}
	for _, ip := range ips {
		if !ip.IsLoopback() {
			return false, nil
		}
	}
	return true, nil
}
