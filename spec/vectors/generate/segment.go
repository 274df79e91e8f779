package main

import (
	"fmt"
	"strings"
)

// Sections 4.2 to 4.8 of spec/memory.md.

func segments() []vector {
	one := sessions("segment-", byFile, shareHello)
	third := sessions("segment-", byFile, shareHello, "stream: 3")
	two := bytesOf("copy, stream 1: 65536 bytes in segment 1, 20000 in segment 2",
		callWith(1, "copy", [][]byte{ref(65536, 1), ref(20000, 2)}))
	mixed := bytesOf("copy, stream 1: 7 bytes in the message, 65536 in segment 1",
		callWith(1, "copy", [][]byte{ref(7, 0), ref(65536, 1)}, pattern(7)))
	many := func(n int) (list []step) {
		for i := range n {
			list = append(list, sealed(uint32(i+1), 4096))
		}
		return list
	}
	const large = 600 << 20
	return []vector{
		one("whole", "4.4", "answers 65536", "a buffer that fills its segment", sealed(1, 65536), copyOf(1, 65536, 1)),
		one("part", "4.4", "answers 20000", "a buffer at the beginning of its segment", sealed(1, 65536), copyOf(1, 20000, 1)),
		one("empty", "4.4", "answers 0", "a buffer of no bytes that has a segment", sealed(1, 65536), copyOf(1, 0, 1)),
		one("least", "4.7", "answers 4096", "the smallest segment", sealed(1, 4096), copyOf(1, 4096, 1)),
		one("two", "4.4", "answers 65536 20000", "two buffers, each in its segment", sealed(1, 65536), sealed(2, 20480), two),
		one("beside", "4.4", "answers 7 65536", "a buffer in the message, and one in a segment", sealed(1, 65536), mixed),
		one("order", "4.4", "answers 16384", "segments need not be sent in the order of their numbers", sealed(1, 65536), sealed(2, 16384), copyOf(1, 16384, 2)),
		third("again", "4.5", "answers 20000", "a segment is sent again when it was given back",
			sealed(1, 65536), copyOf(1, 65536, 1), copyOf(3, 20000, 1).after("release")),
		one("unused", "4.3", "lives", "a segment that nothing lies in", sealed(1, 65536)),
		one("retired", "4.6", "lives", "a segment that is given up without having been sent", sealed(1, 65536), retire(1)),
		one("retired-sent", "4.6", "lives", "a segment that is given up when it was given back", sealed(1, 65536), copyOf(1, 65536, 1), retire(1).after("release")),
		one("retired-room", "4.7", "lives", "what was given up does not count any more", sealed(1, large), retire(1), sealed(2, large)),
		one("most", "4.7", "lives", "1024 segments", many(1024)...),
		one("many", "4.8", "dies", "1025 segments", many(1025)...),
		one("sum", "4.8", "dies", "segments above max-buffers", sealed(1, large), sealed(2, large)),
	}
}

func badSegments() []vector {
	one := sessions("segment-", byFile, shareHello)
	memfd := sessions("segment-", "memfd", shareHello)
	none := sessions("segment-", anyKind, shareHello)
	framed := func(about string, b []byte, file string) step { return bytesOf(about, b).withFiles(file) }
	frame := segmentBytes(1, 0, 65536, 0)
	bent := func(at int, b byte) []byte { // the frame with another byte
		c := cat(frame)
		c[at] = b
		return c
	}
	list := []vector{
		one("number-0", "4.8", "dies", "number 0", sealed(0, 65536)),
		one("number-2", "4.8", "dies", "a number that is not the next one", sealed(2, 65536)),
		one("number-twice", "4.8", "dies", "a number that came before", sealed(1, 65536), sealed(1, 65536)),
		one("number-again", "4.3", "dies", "the number of a segment that was given up", sealed(1, 65536), retire(1), sealed(1, 65536)),
		one("use-2", "4.8", "dies", "a use that is not known", framed("segment 1, use 2", segmentBytes(1, 2, 65536, 0), "65536 sealed")),
		one("size-0", "4.8", "dies", "no bytes", framed("segment 1: 0 bytes", segmentBytes(1, 0, 0, 0), "4096 sealed")),
		one("size-small", "4.8", "dies", "less than 4096 bytes", framed("segment 1: 4095 bytes", segmentBytes(1, 0, 4095, 0), "4096 sealed")),
		one("size-odd", "4.8", "dies", "not a multiple of 4096", framed("segment 1: 65537 bytes", segmentBytes(1, 0, 65537, 0), "69632 sealed")),
		one("size-4g", "4.8", "dies", "4 GiB", framed("segment 1: 4 GiB", segmentBytes(1, 0, 1<<32, 0), "4096 sealed")),
		one("size-huge", "4.8", "dies", "the largest size there is", framed("segment 1: 16 EiB - 4096", segmentBytes(1, 0, 1<<64-4096, 0), "4096 sealed")),
		one("size-limit", "4.8", "dies", "one segment above max-buffers", framed("segment 1: 1 GiB + 4096", segmentBytes(1, 0, 1<<30+4096, 0), "1073745920 sealed")),
		one("file-none", "4.8", "dies", "no descriptor has come", segment(1, 65536)),
		one("file-one-of-two", "4.8", "dies", "one descriptor for two segments", sealed(1, 65536), segment(2, 65536)),
		one("file-small", "4.8", "dies", "a descriptor of less memory than was said", segment(1, 1048576).withFiles("4096 sealed")),
		memfd("file-large", "4.8", "dies", "a descriptor of more memory than was said", segment(1, 65536).withFiles("69632 sealed")),
		one("file-ordinary", "4.8", "dies", "a descriptor of a file", segment(1, 65536).withFiles("65536 file")),
		one("file-pipe", "4.8", "dies", "a descriptor of a pipe", segment(1, 65536).withFiles("0 pipe")),
		one("handle", "4.8", "dies", "a handle value, where a descriptor is handed over", framed("segment 1, handle 4", segmentBytes(1, 0, 65536, 4), "65536 sealed")),
		one("flags", "4.3", "dies", "a segment frame with a flag", framed("flags 1", bent(5, 1), "65536 sealed")),
		one("buffers", "4.3", "dies", "a segment frame with a buffer", framed("buffers 1", bent(6, 1), "65536 sealed")),
		none("length-23", "4.8", "dies", "a segment frame of 23 bytes", bytesOf("23 bytes", header(23, 3, 0, 0), frame[8:31])),
		none("length-25", "4.8", "dies", "a segment frame of 25 bytes", bytesOf("25 bytes", header(25, 3, 0, 0), frame[8:], []byte{0})),
		none("length-huge", "4.8", "dies", "the largest length there is, refused by the header alone", bytesOf("4 GiB - 1", header(1<<32-1, 3, 0, 0))),
	}
	seals := []string{"shrink", "grow", "future-write", "seal"}
	for i, without := range seals {
		some := strings.Join(append(append([]string{}, seals[:i]...), seals[i+1:]...), "+")
		list = append(list, memfd("seals-no-"+without, "4.8", "dies", "one of the seals is missing: "+without, segment(1, 65536).withFiles("65536 "+some)))
	}
	return append(list, memfd("seals-none", "4.8", "dies", "memory without seals", segment(1, 65536).withFiles("65536 none")))
}

// Descriptors that come before their frames.
func files() []vector {
	one := sessions("file-", byFile, shareHello)
	skipped := func() step { return bytesOf("a frame to be ignored", header(0, 200, 0, 0)) }
	some := func(n int) (list []string) {
		for range n {
			list = append(list, "4096 sealed")
		}
		return list
	}
	var late, single []step
	late = append(late, skipped().withFiles(some(64)...))
	for i := range 64 {
		late = append(late, segment(uint32(i+1), 4096))
	}
	for range 65 {
		single = append(single, skipped().withFiles("4096 sealed"))
	}
	return []vector{
		sessions("file-", byFile, shareHello, "stream: 3")("ahead", "4.3", "answers 65536", "a descriptor that comes before its frame",
			plain(1).withFiles("65536 sealed"), segment(1, 65536).after("message"), copyOf(3, 65536, 1)),
		one("ahead-64", "4.8", "lives", "64 descriptors that come before their frames", late...),
		one("ahead-65", "4.8", "dies", "65 descriptors that no frame has explained", single...),
		one("ahead-65-of-64", "4.8", "dies", "64 descriptors at once, and one more", skipped().withFiles(some(64)...), skipped().withFiles("4096 sealed")),
		one("left", "4.8", "lives", "a descriptor that is not explained yet", skipped().withFiles("65536 sealed")),
		one("order", "4.3", "answers 20000", "descriptors are those of the segments in their order",
			skipped().withFiles("65536 sealed", "20480 sealed"), segment(1, 65536), segment(2, 20480), copyOf(1, 20000, 2)),
	}
}

func references() []vector {
	one := sessions("reference-", byFile, shareHello)
	none := sessions("reference-", anyKind, shareHello)
	call := func(about, method string, stream uint32, refs ...[]byte) step {
		return bytesOf(about, callWith(stream, method, refs))
	}
	return []vector{
		none("unknown", "4.8", "dies", "a segment that was not announced", copyOf(1, 100, 1)),
		one("unknown-2", "4.8", "dies", "a segment behind the last one", sealed(1, 65536), copyOf(1, 100, 2)),
		one("retired", "4.8", "dies", "a segment that was given up", sealed(1, 65536), retire(1), copyOf(1, 100, 1)),
		one("twice", "4.8", "dies", "two buffers of a message in one segment", sealed(1, 65536),
			call("copy: 100 bytes in segment 1, and 200", "copy", 1, ref(100, 1), ref(200, 1))),
		one("held", "4.8", "dies", "a segment that the receiver has not given back", sealed(1, 65536),
			call("hang, stream 1: 100 bytes in segment 1", "hang", 1, ref(100, 1)), copyOf(3, 100, 1)),
		one("large", "4.8", "dies", "a buffer larger than its segment", sealed(1, 65536), copyOf(1, 65537, 1)),
		none("large-unknown", "2.4", "dies", "a buffer above max-buffers, wherever it is", copyOf(1, 1<<30+1, 1)),
		none("sum", "2.4", "dies", "buffers above max-buffers together, wherever they are", call("copy", "copy", 1, ref(1<<29, 1), ref(1<<29+1, 2))),
		one("high", "4.4", "dies", "bytes 12 to 15 of a reference are not 0", sealed(1, 65536), call("copy", "copy", 1, ref(100, 1<<32+1))),
		one("high-only", "4.4", "dies", "bytes 12 to 15 of a reference are not 0, and its number is", sealed(1, 65536), call("copy", "copy", 1, ref(100, 1<<32))),
		sessions("reference-", byFile, ringHello)("area", "4.8", "dies", "a buffer in a ring's area", area(1, 65536), copyOf(1, 100, 1)),
	}
}

func releases() []vector {
	var list []vector
	for _, k := range []struct {
		kind byte
		name string
	}{{4, "release"}, {5, "retire"}} {
		none := sessions(k.name+"-", anyKind, shareHello)
		bad := func(name, clause, about string, b ...[]byte) vector {
			return none(name, clause, "dies", "a "+k.name+" "+about, bytesOf(k.name, b...))
		}
		list = append(list,
			bad("unknown", "4.8", "of what is not known", numberBytes(k.kind, 1)),
			bad("0", "4.8", "of number 0", numberBytes(k.kind, 0)),
			bad("empty", "4.8", "of nothing", header(0, k.kind, 0, 0)),
			bad("length-3", "4.8", "of 3 bytes", header(3, k.kind, 0, 0), []byte{1, 0, 0}),
			bad("length-6", "4.8", "of a number and a half", header(6, k.kind, 0, 0), []byte{1, 0, 0, 0, 2, 0}),
			bad("long", "4.8", "of 1025 numbers, refused by its header alone", header(4100, k.kind, 0, 0)),
			bad("flags", fmt.Sprintf("4.%d", k.kind+1), "with a flag", header(4, k.kind, 1, 0), []byte{1, 0, 0, 0}),
			bad("buffers", fmt.Sprintf("4.%d", k.kind+1), "with a buffer", header(4, k.kind, 0, 1), []byte{1, 0, 0, 0}),
		)
	}
	one := sessions("", byFile, shareHello)
	sent := []step{sealed(1, 65536), copyOf(1, 65536, 1)}
	again := func(more ...step) []step { return append(append([]step{}, sent...), more...) }
	hang := bytesOf("hang, stream 1: 100 bytes in segment 1", callWith(1, "hang", [][]byte{ref(100, 1)}))
	return append(list,
		one("release-one", "4.5", "answers 65536", "the answer's segment is given back", again(release(1).after("message"))...),
		one("release-twice", "4.8", "dies", "the answer's segment is given back twice", again(release(1).after("message"), release(1))...),
		one("release-twice-at-once", "4.8", "dies", "the answer's segment is given back twice by one frame", again(release(1, 1).after("message"))...),
		one("release-own", "4.8", "dies", "a release of the sender's own segment", sealed(1, 65536), release(1)),
		sessions("", byFile, ringHello)("release-area", "4.8", "dies", "a release of the listener's area", area(1, 65536), release(1).after("area")),
		one("retire-held", "4.8", "dies", "a retire of what the receiver has not given back", sealed(1, 65536), hang, retire(1)),
		one("retire-twice", "4.8", "dies", "a second retire", sealed(1, 65536), retire(1), retire(1)),
		one("retire-several", "4.6", "lives", "two segments are given up by one frame", sealed(1, 65536), sealed(2, 65536), retire(2, 1)),
		sessions("", byFile, ringHello)("retire-area", "4.8", "dies", "a retire of a ring's area", area(1, 65536), retire(1)),
	)
}
