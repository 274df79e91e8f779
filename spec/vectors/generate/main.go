// Command generate writes the vectors of spec/wire.md and spec/memory.md into the folders wire/ and memory/ beside it: one case
// a file. It builds the bytes by hand, so that it shares no mistake with the code that the vectors test.
//
//	go run ./spec/vectors/generate spec/vectors
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// A vector is one file.
type vector struct {
	name    string
	clause  string
	expect  string   // as the spec's page says
	headers []string // further lines
	about   string
	parts   []part
	area    []part // of spec/memory.md: what is in the ring
}

type part struct {
	about string
	b     []byte
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: generate FOLDER")
	}
	for dir, list := range map[string][]vector{"wire": wire(), "memory": memory()} {
		if err := write(filepath.Join(os.Args[1], dir), list); err != nil {
			log.Fatal(err)
		}
	}
}

func wire() []vector {
	var list []vector
	list = append(list, hellos()...)
	list = append(list, messages()...)
	list = append(list, pieces()...)
	list = append(list, opens()...)
	list = append(list, closes()...)
	list = append(list, streams()...)
	list = append(list, metadata()...)
	return append(list, connections()...)
}

func write(dir string, list []vector) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	for _, v := range list {
		if err := os.WriteFile(filepath.Join(dir, v.name+".txt"), v.text(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (v vector) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "clause: %s\nexpect: %s\n", v.clause, v.expect)
	for _, h := range v.headers {
		fmt.Fprintln(&b, h)
	}
	fmt.Fprintf(&b, "about: %s\n\n", v.about)
	hex(&b, v.parts)
	if len(v.area) > 0 {
		fmt.Fprintln(&b)
		hex(&b, v.area)
	}
	return b.Bytes()
}

func hex(b *bytes.Buffer, parts []part) {
	for _, p := range parts {
		fmt.Fprintf(b, "# %s\n", p.about)
		for i := 0; i < len(p.b); i += 16 {
			fmt.Fprintf(b, "% x\n", p.b[i:min(i+16, len(p.b))])
		}
	}
}

// ---- pieces

const goodHello = "standpipe 1\nmax-message: 16777216\nmax-buffers: 1073741824\ncodecs: msgpack json morse\nmax-calls: 1024\n\n"

func hello(s string) part {
	return part{"hello: " + strings.ReplaceAll(strings.TrimSuffix(s, "\n\n"), "\n", " | "), []byte(s)}
}

func good() part { return hello(goodHello) }

// behindHello makes vectors whose parts come behind a good hello. The prefix is that of their names.
func behindHello(prefix string, headers ...string) func(name, clause, expect, about string, parts ...part) vector {
	return func(name, clause, expect, about string, parts ...part) vector {
		return vector{name: prefix + name, clause: clause, expect: expect, about: about, headers: headers, parts: append([]part{good()}, parts...)}
	}
}

// frame is a message frame around an rpc frame.
func frame(about string, rpc []byte) part {
	return part{about, append(header(uint32(len(rpc)), 1, 0, 0), rpc...)}
}

func header(length uint32, kind, flags byte, buffers uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, length)
	return binary.LittleEndian.AppendUint16(append(b, kind, flags), buffers)
}

func ref(size, reserved uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, size), reserved)
}

func rpcHeader(stream uint32, typ, flags, x, y byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, stream), typ, flags, x, y)
}

// open is a call of the method with a MessagePack string.
func open(stream uint32, method string) []byte {
	b := append(rpcHeader(stream, 1, 1, 0, byte(len(method))), method...)
	return append(b, 0xa2, 'h', 'i')
}

func cancel(stream uint32, code uint16) []byte {
	return rpcHeader(stream, 3, 0, byte(code), byte(code>>8))
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
