package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// The vectors of spec/memory.md, which says what their headers mean.

func memory() []vector {
	var list []vector
	list = append(list, memoryFrames()...)
	list = append(list, agreements()...)
	list = append(list, segments()...)
	list = append(list, badSegments()...)
	list = append(list, files()...)
	list = append(list, references()...)
	list = append(list, releases()...)
	list = append(list, rings()...)
	list = append(list, badRings()...)
	list = append(list, areas()...)
	return append(list, values()...)
}

const (
	plainHello = "max-message: 16777216 | max-buffers: 1073741824 | codecs: msgpack json morse | max-calls: 1024"
	shareHello = plainHello + " | share: KIND"
	ringHello  = shareHello + " | ring: 1"

	anyKind = "memfd shm section"
	byFile  = "memfd shm" // descriptors travel beside the bytes
)

// A step is bytes that the dialer sends, and what goes before and beside them.
type step struct {
	part
	wait  string   // has come before
	files []string // SIZE HOW
}

// sessions makes vectors of one kind of hello. The prefix is that of their names.
func sessions(prefix, share, hello string, headers ...string) func(name, clause, expect, about string, steps ...step) vector {
	return func(name, clause, expect, about string, steps ...step) vector {
		v := vector{name: prefix + name, clause: clause, expect: expect, about: about}
		v.headers = append(v.headers, "what: session")
		if share != "" {
			v.headers = append(v.headers, "share: "+share)
		}
		v.headers = append(v.headers, "hello: "+hello)
		var files, waits []string
		at := 0
		for _, s := range steps {
			for _, f := range s.files {
				files = append(files, fmt.Sprintf("%d %s", at, f))
			}
			if s.wait != "" {
				waits = append(waits, fmt.Sprintf("%d %s", at, s.wait))
			}
			v.parts = append(v.parts, s.part)
			at += len(s.b)
		}
		if len(files) > 0 {
			v.headers = append(v.headers, "files: "+strings.Join(files, ", "))
		}
		if len(waits) > 0 {
			v.headers = append(v.headers, "waits: "+strings.Join(waits, ", "))
		}
		v.headers = append(v.headers, headers...)
		return v
	}
}

// ---- pieces

func bytesOf(about string, b ...[]byte) step { return step{part: part{about, cat(b...)}} }

// withFiles sends files with the first byte of s.
func (s step) withFiles(files ...string) step {
	s.files = files
	return s
}

func (s step) after(wait string) step {
	s.wait = wait
	return s
}

func segmentBytes(number, use uint32, size, handle uint64) []byte {
	b := binary.LittleEndian.AppendUint32(header(24, 3, 0, 0), number)
	b = binary.LittleEndian.AppendUint32(b, use)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, size), handle)
}

// segment announces one for buffers.
func segment(number uint32, size uint64) step {
	return bytesOf(fmt.Sprintf("segment %d: %d bytes for buffers", number, size), segmentBytes(number, 0, size, 0))
}

// sealed is segment with its memory.
func sealed(number uint32, size uint64) step {
	return segment(number, size).withFiles(fmt.Sprintf("%d sealed", size))
}

func numberBytes(kind byte, numbers ...uint32) []byte {
	b := header(uint32(4*len(numbers)), kind, 0, 0)
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

func release(numbers ...uint32) step {
	return bytesOf(fmt.Sprint("release of ", numbers), numberBytes(4, numbers...))
}

func retire(numbers ...uint32) step {
	return bytesOf(fmt.Sprint("retire of ", numbers), numberBytes(5, numbers...))
}

// callWith is a call of a method that takes buffers at a and b, with these references, and the bytes of those that are in the message.
func callWith(stream uint32, method string, refs [][]byte, inside ...[]byte) []byte {
	value := []byte{0x80 + byte(min(len(refs), 2))}
	for i := range min(len(refs), 2) {
		value = append(value, 0xa1, 'a'+byte(i), 0xd4, 1, byte(i))
	}
	return callOf(stream, method, value, refs, inside...)
}

func callOf(stream uint32, method string, value []byte, refs [][]byte, inside ...[]byte) []byte {
	data := cat(rpcHeader(stream, 1, 1, 0, byte(len(method))), []byte(method), value)
	rest := cat(append([][]byte{cat(refs...), data}, inside...)...)
	return append(header(uint32(len(rest)), 1, 0, uint16(len(refs))), rest...)
}

// copyOf is a call of copy with one buffer of size bytes at the beginning of a segment.
func copyOf(stream uint32, size uint64, number uint32) step {
	return bytesOf(fmt.Sprintf("copy, stream %d: %d bytes in segment %d", stream, size, number),
		callWith(stream, "copy", [][]byte{ref(size, uint64(number))}))
}

// plain is a call of copy without buffers.
func plain(stream uint32) step {
	return bytesOf(fmt.Sprintf("copy of nothing, stream %d", stream), callWith(stream, "copy", nil))
}

// pattern is what is in the buffers of vectors.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// ---- frames

func memoryFrames() []vector {
	one := func(name, clause, about string, b []byte, fields ...string) vector {
		return vector{name: "frame-" + name, clause: clause, expect: "same", headers: append([]string{"what: frame"}, fields...), about: about,
			parts: []part{{name, b}}}
	}
	most := make([]uint32, 1024)
	var list strings.Builder
	for i := range most {
		most[i] = uint32(i + 1)
		fmt.Fprint(&list, i+1, " ")
	}
	return []vector{
		one("segment", "4.3", "a segment for buffers", segmentBytes(1, 0, 65536, 0), "kind: segment", "number: 1", "use: 0", "size: 65536", "handle: 0"),
		one("segment-area", "4.3", "the area of a ring", segmentBytes(258, 1, 4096+1048576, 0),
			"kind: segment", "number: 258", "use: 1", "size: 1052672", "handle: 0"),
		one("segment-handle", "4.3", "a section, by the value of its handle", segmentBytes(7, 0, 1<<32-4096, 0x1234),
			"kind: segment", "number: 7", "use: 0", "size: 4294963200", "handle: 4660"),
		one("release", "4.5", "one segment is given back", numberBytes(4, 3), "kind: release", "numbers: 3"),
		one("release-several", "4.5", "three segments are given back", numberBytes(4, 3, 1, 70000), "kind: release", "numbers: 3 1 70000"),
		one("release-most", "4.5", "1024 segments are given back", numberBytes(4, most...), "kind: release", "numbers: "+strings.TrimSpace(list.String())),
		one("retire", "4.6", "two segments are given up", numberBytes(5, 2, 4), "kind: retire", "numbers: 2 4"),
		one("ring", "5.3", "the stream goes to the ring", header(0, 6, 0, 0), "kind: ring"),
		one("bell", "5.4", "a bell", header(0, 7, 0, 0), "kind: bell"),
		one("reference", "4.4", "a buffer of 100000 bytes in segment 9", ref(100000, 9), "kind: reference", "size: 100000", "number: 9"),
		one("reference-inside", "4.4", "a buffer of 5 bytes in the message", ref(5, 0), "kind: reference", "size: 5", "number: 0"),
	}
}

// ---- 4.1

func agreements() []vector {
	none := sessions("hello-", "", plainHello)
	carrots := sessions("hello-", "", plainHello+" | share: carrots")
	ringOnly := sessions("hello-", "", plainHello+" | ring: 1")
	inside := bytesOf("copy, stream 1: 5 bytes in the message", callWith(1, "copy", [][]byte{ref(5, 0)}, pattern(5)))
	bell := bytesOf("bell", header(0, 7, 0, 0))
	ring := bytesOf("ring", header(0, 6, 0, 0))
	return []vector{
		none("none", "4.1", "answers 5", "without sharing, bytes are copied", inside),
		none("none-segment", "4.8", "dies", "a segment where sharing was not agreed on", segment(1, 65536)),
		none("none-release", "4.8", "dies", "a release where sharing was not agreed on", release(1)),
		none("none-retire", "4.8", "dies", "a retire where sharing was not agreed on", retire(1)),
		none("none-ring", "4.8", "dies", "a ring frame where sharing was not agreed on", ring),
		none("none-bell", "4.8", "dies", "a bell where sharing was not agreed on", bell),
		carrots("share-unknown", "4.1", "answers 5", "a kind of memory that nobody knows: as if the line were missing", inside),
		carrots("share-unknown-bell", "4.8", "dies", "a bell where the kinds of memory are not the same", bell),
		ringOnly("ring-alone", "4.1", "answers 5", "ring without share is nothing", inside),
		ringOnly("ring-alone-ring", "4.8", "dies", "a ring frame where only ring was said", ring),
		sessions("hello-", byFile, plainHello+" | share: section")("share-other", "4.1", "answers 5", "the kind of another system", inside),
		sessions("hello-", byFile, plainHello+" | share: section")("share-other-segment", "4.8", "dies", "a segment, where the kinds are not the same", sealed(1, 65536)),
		sessions("hello-", anyKind, shareHello)("share", "4.1", "answers 5", "where memory is shared, bytes may be copied all the same", inside),
		sessions("hello-", anyKind, shareHello+" | ring: 2")("ring-2", "4.1", "answers 5", "a layout that nobody knows: as if the line were missing", inside),
		sessions("hello-", byFile, shareHello+" | ring: 2")("ring-2-area", "5.9", "dies", "an area where the layouts are not the same", area(1, 65536)),
	}
}
