package main

import (
	"bytes"
	"encoding/binary"
)

// pieces are the cases of buffers that go ahead of their message.
func pieces() []vector {
	one := behindHello("pieces-", "stream: 1")
	alone := behindHello("pieces-")
	dies := func(name, clause, about string, parts ...part) vector {
		return alone(name, clause, "dies", about, parts...)
	}
	call := open(1, "echo")
	n := uint32(len(call))
	piece := func(about string, number, size uint32, b string) part {
		body := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, number), size)
		return part{about, cat(header(uint32(8+len(b)), 8, 0, 0), body, []byte(b))}
	}
	drop := func(number uint32) part {
		return part{"drop", cat(header(4, 9, 0, 0), binary.LittleEndian.AppendUint32(nil, number))}
	}
	takes := func(about string, size uint64, place uint64) part {
		return part{about, cat(header(16+n, 1, 0, 1), ref(size, place), call)}
	}
	const first, second = 1 << 32, 2 << 32 // the numbers, in a reference
	var many []part
	for i := range uint32(65) {
		many = append(many, piece("a buffer of 2 bytes begins", i+1, 2, "a"))
	}
	ab := piece("the first 2 bytes of 3", 1, 3, "ab")
	c := piece("the last one", 1, 3, "c")
	return []vector{
		one("whole", "2.7", "answers", "a buffer in two pieces, and its message", ab, c, takes("echo, stream 1, with it", 3, first)),
		one("mixed", "2.7", "answers", "the pieces of two buffers are mixed", ab, piece("another buffer, as a whole", 2, 1, "x"), c,
			part{"echo, stream 1, with both", cat(header(32+n, 1, 0, 2), ref(1, second), ref(3, first), call)}),
		one("between", "2.7", "answers", "a call goes between two pieces", ab, frame("echo, stream 1", call), c),
		one("dropped", "2.8", "answers", "a buffer is dropped before it is whole", ab, drop(1), frame("echo, stream 1", call)),
		one("dropped-whole", "2.8", "answers", "and one that is whole, and the next number begins", ab, c, drop(1), piece("the next one", 2, 1, "x"), takes("echo, stream 1, with that", 1, second)),
		dies("empty", "2.7", "a piece without a byte", piece("no bytes", 1, 3, "")),
		dies("long", "2.7", "a piece of more than 256 KiB", part{"262145 bytes", header(8+262145, 8, 0, 0)}),
		dies("buffers", "2.7", "a piece that says it has buffers", part{"1 buffer", header(9, 8, 0, 1)}),
		dies("flags", "2.4", "a piece with flags", part{"flags 1", header(9, 8, 1, 0)}),
		dies("size-0", "2.7", "more bytes than the whole, which has none", piece("1 byte of 0", 1, 0, "a")),
		dies("number-0", "2.7", "numbers begin with 1", piece("number 0", 0, 1, "a")),
		dies("number-2", "2.7", "the first number is 1", piece("number 2", 2, 1, "a")),
		dies("size-other", "2.7", "another size than before", ab, piece("of 4 bytes, suddenly", 1, 4, "c")),
		dies("more", "2.7", "more bytes than are missing", ab, piece("2 bytes where 1 is missing", 1, 3, "cd")),
		dies("again", "2.7", "a piece of a buffer that was taken", ab, c, takes("a call with it", 3, first), c),
		dies("behind-drop", "2.7", "a piece of a buffer that was dropped", ab, drop(1), c),
		dies("cut", "2.7", "a message takes a buffer that is not whole", ab, takes("a call with it", 3, first)),
		dies("length", "2.7", "a message takes a buffer as one of another length", ab, c, takes("a call with it", 2, first)),
		dies("absent", "2.7", "a message takes a buffer that has not begun", takes("a call with it", 3, first)),
		dies("twice", "2.7", "a message takes the same buffer twice", ab, c, part{"a call with it, twice", cat(header(32+n, 1, 0, 2), ref(3, first), ref(3, first), call)}),
		dies("both", "2.2", "a reference with a segment and pieces", ab, c, takes("a call with both", 3, first|1)),
		dies("many", "2.7", "65 buffers are begun", many...),
		dies("large", "2.7", "buffers above max-buffers, by their words alone", piece("1 byte of 1 GiB", 1, 1<<30, "a"), piece("1 byte of 1", 2, 1, "a")),
		dies("drop-absent", "2.8", "a drop of a buffer that has not begun", drop(1)),
		dies("drop-twice", "2.8", "a second drop", ab, drop(1), drop(1)),
		dies("drop-taken", "2.8", "a drop of a buffer that was taken", ab, c, takes("a call with it", 3, first), drop(1)),
		dies("drop-long", "2.8", "a drop of 5 bytes", part{"5 bytes", append(header(5, 9, 0, 0), bytes.Repeat([]byte{1}, 5)...)}),
	}
}
