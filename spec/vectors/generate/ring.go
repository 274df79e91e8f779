package main

import "fmt"

// Section 5 of spec/memory.md.

// area announces one with that room. What is in it, the vector says.
func area(number uint32, room uint64) step {
	return bytesOf(fmt.Sprintf("segment %d: an area with room for %d bytes", number, room), segmentBytes(number, 1, 4096+room, 0)).
		withFiles(fmt.Sprintf("%d area", 4096+(room+4095)/4096*4096))
}

// fields are what an area says: what is missing is 0.
type fields struct{ head, window, tail, parked, waiting uint64 }

func (f fields) headers(prefix string) (list []string) {
	for _, h := range []struct {
		key   string
		value uint64
	}{{"head", f.head}, {"window", f.window}, {"tail", f.tail}, {"parked", f.parked}, {"waiting", f.waiting}} {
		list = append(list, fmt.Sprintf("%s%s: %d", prefix, h.key, h.value))
	}
	return list
}

// ringing makes a vector whose dialer has gone over to a ring in which something is.
func ringing(name, clause, expect, about string, in []part, f fields, headers []string, more ...step) vector {
	size := 0
	for _, p := range in {
		size += len(p.b)
	}
	if f.head == 0 {
		f.head = uint64(size)
	}
	if f.window == 0 {
		f.window = 4096
	}
	steps := append([]step{area(1, 65536), bytesOf("ring", header(0, 6, 0, 0)).after("area")}, more...)
	v := sessions("ring-", byFile, ringHello, append(f.headers(""), headers...)...)(name, clause, expect, about, steps...)
	v.area = in
	return v
}

func rings() []vector {
	one := sessions("ring-", byFile, ringHello, fields{window: 4096}.headers("")...)
	none := sessions("ring-", anyKind, ringHello)
	call := []part{plain(1).part}
	bell := bytesOf("bell", header(0, 7, 0, 0))
	shared := []part{copyOf(1, 65536, 2).part}
	closes := []string{"then: close"}
	return []vector{
		one("area", "5.1", "lives", "an area, and no ring frame", area(1, 65536)),
		one("area-least", "5.1", "lives", "the smallest area", area(1, 4096)),
		one("area-most", "5.1", "lives", "the largest area", area(1, 16777216)),
		one("area-second-segment", "4.3", "lives", "an area has a number as other segments do", sealed(1, 65536), area(2, 65536), sealed(3, 65536)),
		none("bell-early", "5.4", "lives", "a bell for nothing, before there is any ring", bell),
		ringing("call", "5.3", "answers", "a call in the ring", call, fields{}, nil),
		ringing("empty", "5.3", "lives", "a ring with nothing in it", nil, fields{}, nil),
		ringing("window-room", "5.2", "answers", "the whole room is in use", call, fields{window: 65536}, nil),
		ringing("bells", "5.4", "answers", "bells for nothing", call, fields{}, nil, bell, bell, bell),
		ringing("parked", "5.2", "answers", "the dialer waits for bytes", call, fields{parked: 1}, nil),
		ringing("parked-futex", "5.2", "answers", "the dialer waits in a futex, which was not agreed on: then by a bell", call, fields{parked: 3}, nil),
		ringing("waiting", "5.2", "answers", "the dialer waits for room", call, fields{waiting: 7}, nil),
		ringing("segment", "5.5", "answers 65536", "the stream has overtaken the segment that it refers to", shared, fields{}, nil, sealed(2, 65536)),
		ringing("segment-never", "5.5", "dies", "the segment that the stream refers to never comes", shared, fields{}, closes),
		ringing("retire", "4.6", "answers", "a segment is given up beside the ring", call, fields{}, nil, sealed(2, 65536), retire(2)),
		ringing("retire-six", "4.6", "answers", "six are given up by one frame", call, fields{}, nil, sealed(2, 4096), sealed(3, 4096), sealed(4, 4096), sealed(5, 4096), sealed(6, 4096),
			sealed(7, 4096), retire(2, 3, 4, 5, 6, 7)),
		ringing("end", "5.8", "ends", "what is in the ring is read when the connection has ended", call, fields{}, append(closes, "received: 1")),
		ringing("end-cut", "5.8", "dies", "a frame that is cut when the connection has ended", []part{{"half a call", call[0].b[:20]}}, fields{}, closes),
	}
}

func badRings() []vector {
	one := sessions("ring-", byFile, ringHello, fields{window: 4096}.headers("")...)
	none := sessions("ring-", anyKind, ringHello)
	call := []part{plain(1).part}
	ring := bytesOf("ring", header(0, 6, 0, 0))
	behind := func(name, about string, s step) vector { // when what is in the ring was read
		return ringing("connection-"+name, "5.9", "dies", about+" on the connection, behind the ring frame", call, fields{}, nil, s.after("message"))
	}
	in := func(name, clause, about string, s step) vector {
		return ringing("in-"+name, clause, "dies", about+" in the ring", []part{s.part}, fields{}, nil)
	}
	bad := func(name, about string, f fields) vector { return ringing(name, "5.9", "dies", about, call, f, nil) }
	size := func(name, about string, room uint64) vector {
		return one("area-"+name, "5.9", "dies", about, area(1, room))
	}
	return []vector{
		size("none", "an area without room", 0),
		size("small", "an area with room for 2048 bytes", 2048),
		size("odd", "an area whose room is no power of two", 12288),
		size("large", "an area with room for 32 MiB", 33554432),
		one("area-tiny", "5.9", "dies", "an area of less than its head",
			bytesOf("segment 1: an area of 2048 bytes", segmentBytes(1, 1, 2048, 0)).withFiles("4096 area")),
		one("area-second", "5.9", "dies", "a second area", area(1, 65536), area(2, 65536)),
		one("area-file-none", "4.8", "dies", "an area without its descriptor", bytesOf("segment 1: an area", segmentBytes(1, 1, 4096+65536, 0))),
		sessions("ring-", byFile, shareHello)("area-not-agreed", "5.9", "dies", "an area where rings were not agreed on", area(1, 65536)),
		none("no-area", "5.9", "dies", "a ring frame without areas", ring),
		none("length", "5.3", "dies", "a ring frame with bytes", bytesOf("ring, 4 bytes", header(4, 6, 0, 0), []byte{0, 0, 0, 0})),
		none("flags", "5.3", "dies", "a ring frame with a flag", bytesOf("ring, flags 1", header(0, 6, 1, 0))),
		none("bell-length", "5.4", "dies", "a bell with bytes", bytesOf("bell, 4 bytes", header(4, 7, 0, 0), []byte{0, 0, 0, 0})),
		none("bell-flags", "5.4", "dies", "a bell with a flag", bytesOf("bell, flags 1", header(0, 7, 1, 0))),
		none("bell-buffers", "5.4", "dies", "a bell with a buffer", bytesOf("bell, buffers 1", header(0, 7, 0, 1))),
		behind("message", "a message", plain(1)),
		ringing("connection-at-once", "5.9", "dies", "a message on the connection, beside the ring frame", nil, fields{}, nil, plain(1)),
		ringing("connection-instead", "5.9", "dies", "a release on the connection, where the segment should come that the stream refers to",
			[]part{copyOf(1, 100, 2).part}, fields{}, nil, release(1).after("ring")),
		behind("release", "a release", release(1)),
		behind("retire", "a retire of the area", retire(1)),
		behind("retire-seven", "a retire with 7 numbers", retire(2, 3, 4, 5, 6, 7, 8)),
		behind("ring", "a second ring frame", ring),
		behind("ignored", "a frame that would be ignored", bytesOf("kind 200", header(0, 200, 0, 0))),
		behind("area", "a second area", area(2, 65536)),
		in("ring", "5.9", "a second ring frame", ring),
		in("bell", "5.9", "a bell", bytesOf("bell", header(0, 7, 0, 0))),
		in("segment", "5.9", "a segment frame", segment(2, 65536)),
		in("retire", "5.9", "a retire", retire(1)),
		in("kind-10", "2.4", "a frame that is not known", bytesOf("kind 10", header(0, 10, 0, 0))),
		bad("head-far", "more bytes than the window", fields{head: 4097}),
		bad("head-room", "more bytes than the room", fields{head: 65537, window: 65536}),
		bad("head-huge", "a head that is behind the reader's tail", fields{head: 1<<64 - 1}),
		bad("window-small", "a window of 2048 bytes", fields{window: 2048}),
		bad("window-odd", "a window that is no power of two", fields{window: 5000}),
		bad("window-large", "a window larger than the room", fields{window: 131072}),
		bad("window-huge", "the largest window there is", fields{window: 1 << 63}),
	}
}

// areas are what a reader and a writer do about one state of both areas.
func areas() []vector {
	read := func(name, clause, expect, bell, about string, room int, f fields, tail uint64, n int, want []byte) vector {
		v := vector{name: "area-read-" + name, clause: clause, expect: expect, about: about}
		v.headers = append([]string{"what: area", fmt.Sprintf("room: %d", room)}, f.headers("")...)
		v.headers = append(v.headers, fmt.Sprintf("my-tail: %d", tail), fmt.Sprintf("do: read %d", n), "bell: "+bell)
		if want != nil {
			v.parts = []part{{"what is read", want}}
		}
		return v
	}
	at := func(from, n int) []byte { return pattern(from + n)[from:] }
	dies := func(name, about string, f fields, tail uint64) vector {
		return read(name, "5.9", "dies", "no", about, 8192, f, tail, 100, nil)
	}
	const far = 1 << 40
	list := []vector{
		read("all", "5.6", "reads 100", "no", "all that is there", 8192, fields{head: 100, window: 4096}, 0, 200, at(0, 100)),
		read("some", "5.6", "reads 30", "no", "a part of what is there", 8192, fields{head: 100, window: 4096}, 0, 30, at(0, 30)),
		read("nothing", "5.6", "waits", "no", "nothing is there", 8192, fields{window: 4096}, 0, 100, nil),
		read("nothing-later", "5.6", "waits", "no", "nothing is there any more", 8192, fields{head: 5000, window: 4096}, 5000, 100, nil),
		read("wrap", "5.2", "reads 20", "no", "bytes around the end of the window", 8192, fields{head: 4106, window: 4096}, 4086, 50, cat(at(4086, 10), at(0, 10))),
		read("window-room", "5.2", "reads 20", "no", "bytes around the end of the room", 8192, fields{head: 16394, window: 8192}, 16374, 50, cat(at(8182, 10), at(0, 10))),
		read("full", "5.2", "reads 16", "no", "a window that is full", 8192, fields{head: 4096, window: 4096}, 0, 16, at(0, 16)),
		read("far", "5.2", "reads 40", "no", "beyond 32 bits", 8192, fields{head: far + 140, window: 4096}, far+100, 64, at(100, 40)),
		read("bell", "5.6", "reads 100", "yes", "the writer waits for room, and nothing is left", 8192, fields{head: 100, window: 4096, waiting: 1}, 0, 100, at(0, 100)),
		read("bell-half", "5.6", "reads 2048", "yes", "the writer waits for room, and half of the window is free", 8192, fields{head: 4096, window: 4096, waiting: 5}, 0, 2048, at(0, 2048)),
		read("bell-less", "5.6", "reads 2047", "no", "the writer waits for room, and less than half of the window is free", 8192, fields{head: 4096, window: 4096, waiting: 5}, 0, 2047, at(0, 2047)),
		read("bell-even", "5.6", "reads 100", "no", "the writer does not wait any more", 8192, fields{head: 100, window: 4096, waiting: 2}, 0, 100, at(0, 100)),
		dies("head-far", "a head more than the window ahead", fields{head: 4097, window: 4096}, 0),
		dies("head-far-later", "a head more than the window ahead, later", fields{head: 10000, window: 4096}, 5000),
		dies("head-behind", "a head behind the reader's tail", fields{head: 4999, window: 4096}, 5000),
		dies("window-0", "no window", fields{head: 10}, 0),
		dies("window-small", "a window of 2048 bytes", fields{head: 10, window: 2048}, 0),
		dies("window-odd", "a window that is no power of two", fields{head: 10, window: 5000}, 0),
		dies("window-large", "a window larger than the room", fields{head: 10, window: 16384}, 0),
		dies("window-huge", "the largest window there is", fields{head: 10, window: 1 << 63}, 0),
	}
	return append(list, areaWrites()...)
}

func areaWrites() []vector {
	write := func(name, clause, expect, bell, about string, f fields, head, seen uint64, n int, lands string) vector {
		v := vector{name: "area-write-" + name, clause: clause, expect: expect, about: about, parts: []part{{"what is to be written", pattern(n)}}}
		v.headers = append([]string{"what: area", "room: 4096"}, f.headers("")...)
		v.headers = append(v.headers, fmt.Sprintf("my-head: %d", head), "my-window: 4096", fmt.Sprintf("my-seen: %d", seen), "do: write", "bell: "+bell)
		if lands != "" {
			v.headers = append(v.headers, "lands: "+lands)
		}
		return v
	}
	w := func(tail, parked uint64) fields { return fields{window: 4096, tail: tail, parked: parked} }
	return []vector{
		write("first", "5.7", "writes 10", "no", "an empty ring", w(0, 0), 0, 0, 10, "0 10"),
		write("wrap", "5.2", "writes 20", "no", "around the end of the window", w(4080, 0), 4086, 4080, 20, "4086 10, 0 10"),
		write("full", "5.7", "waits", "no", "there is no room", w(0, 0), 4096, 0, 10, ""),
		write("fills", "5.7", "writes 10", "no", "the last of the room", w(0, 0), 4086, 0, 10, "4086 10"),
		write("part", "5.7", "writes 6", "no", "there is room for a part", w(100, 0), 4190, 100, 20, "94 6"),
		write("looks", "5.7", "writes 20", "no", "the reader has read since the writer has looked", w(4096, 0), 4096, 0, 20, "0 20"),
		write("far", "5.2", "writes 20", "no", "beyond 32 bits", w(1<<40, 0), 1<<40+4000, 1<<40, 20, "4000 20"),
		write("bell", "5.7", "writes 10", "yes", "the reader waits for bytes", w(0, 1), 0, 0, 10, "0 10"),
		write("bell-even", "5.7", "writes 10", "no", "the reader does not wait any more", w(0, 2), 0, 0, 10, "0 10"),
		write("tail-above", "5.9", "dies", "no", "a tail above the writer's head", w(4097, 0), 4096, 0, 10, ""),
		write("tail-huge", "5.9", "dies", "no", "the largest tail there is", w(1<<64-1, 0), 4096, 0, 10, ""),
		write("tail-lower", "5.9", "dies", "no", "a tail that is lower than it was", w(99, 0), 4196, 100, 10, ""),
	}
}
