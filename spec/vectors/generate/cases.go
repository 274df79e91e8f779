package main

import (
	"encoding/binary"
	"strings"
)

func hellos() []vector {
	dies := func(name, clause, about, text string, headers ...string) vector {
		return vector{name: "hello-" + name, clause: clause, expect: "dies", about: about, headers: headers, parts: []part{hello(text)}}
	}
	pad := func(n int) string { // a hello of n bytes
		s := "standpipe 1\ncodecs: msgpack\n"
		for c := 'a'; len(s) < n-1; c++ {
			line := min(n-1-len(s), 400)
			if left := n - 1 - len(s) - line; left > 0 && left < 20 {
				line -= 20
			}
			s += "pad-" + string(c) + ": " + strings.Repeat("x", line-len("pad-a: \n")) + "\n"
		}
		return s + "\n"
	}
	call := frame("echo, stream 1", open(1, "echo"))
	list := []vector{
		{name: "hello-good", clause: "1.2", expect: "answers", about: "a hello and a call behind it", parts: []part{good(), call}},
		{name: "hello-least", clause: "1.6", expect: "fails Unimplemented", headers: []string{"stream: 1"},
			about: "a hello without keys is whole; it announces no codec, so a call can't name one", parts: []part{hello("standpipe 1\n\n"), call}},
		{name: "hello-unknown-key", clause: "1.4", expect: "answers", about: "an unknown key is ignored",
			parts: []part{hello("standpipe 1\ncodecs: msgpack\nx-colour: green & blue\n\n"), call}},
		{name: "hello-empty-value", clause: "1.4", expect: "fails Unimplemented", headers: []string{"stream: 1"},
			about: "an empty value is one", parts: []part{hello("standpipe 1\ncodecs: \n\n"), call}},
		{name: "hello-longest", clause: "1.5", expect: "answers", about: "4096 bytes are allowed", parts: []part{hello(pad(4096)), call}},
		{name: "hello-nothing", clause: "1.5", expect: "ends", headers: []string{"then: close"}, about: "a connection that ends before its first byte has ended well"},
		dies("too-long", "1.5", "4097 bytes are not", pad(4097)),
		dies("endless", "1.5", "a hello that has no end within 4096 bytes", "standpipe 1\n"+strings.Repeat("a: b\n", 900)),
		dies("cut", "1.5", "the connection ends inside the hello", "standpipe 1\nmax-mess", "then: close"),
		dies("http", "1.3", "another protocol", "GET / HTTP/1.1\r\n\r\n"),
		dies("tls", "1.3", "another protocol, binary", "\x16\x03\x01\x02\x00\x01\x00"),
		dies("version-2", "1.3", "a version that is not spoken here", "standpipe 2\n\n"),
		dies("version-0", "1.3", "a version that never was", "standpipe 0\n\n"),
		dies("version-01", "1.3", "not a decimal number as it should be", "standpipe 01\n\n"),
		dies("version-text", "1.3", "no number", "standpipe one\n\n"),
		dies("version-space", "1.3", "a space behind the version", "standpipe 1 \n\n"),
		dies("crlf", "1.4", "lines end with \\n alone", "standpipe 1\nmax-message: 65536\r\n\n"),
		dies("no-colon", "1.4", "a line that is not key: value", "standpipe 1\nmax-message 65536\n\n"),
		dies("no-space", "1.4", "the colon wants a space behind it", "standpipe 1\nmax-message:65536\n\n"),
		dies("key-case", "1.4", "keys are lower-case", "standpipe 1\nMax-Message: 65536\n\n"),
		dies("key-long", "1.4", "a key of 33 bytes", "standpipe 1\n"+strings.Repeat("k", 33)+": v\n\n"),
		dies("value-long", "1.4", "a value of 513 bytes", "standpipe 1\nkey: "+strings.Repeat("v", 513)+"\n\n"),
		dies("value-binary", "1.4", "a value that is not printable", "standpipe 1\nkey: \x01\n\n"),
		dies("value-utf8", "1.4", "a value that is not ASCII", "standpipe 1\nkey: \u00e9\n\n"),
		dies("twice", "1.4", "a key that comes twice", "standpipe 1\nkey: a\nkey: b\n\n"),
		dies("message-small", "1.6", "max-message below 65536", "standpipe 1\nmax-message: 65535\n\n"),
		dies("message-huge", "1.6", "max-message above 32 bits", "standpipe 1\nmax-message: 4294967296\n\n"),
		dies("message-sign", "1.6", "a sign is no digit", "standpipe 1\nmax-message: +65536\n\n"),
		dies("buffers-text", "1.6", "max-buffers is no number", "standpipe 1\nmax-buffers: many\n\n"),
		dies("calls-few", "1.6", "max-calls below 16", "standpipe 1\nmax-calls: 15\n\n"),
		dies("calls-many", "1.6", "max-calls above 65535", "standpipe 1\nmax-calls: 65536\n\n"),
		dies("window-small", "1.6", "window below 65536", "standpipe 1\nwindow: 65535\n\n"),
		dies("window-huge", "1.6", "window above 31 bits", "standpipe 1\nwindow: 2147483648\n\n"),
		dies("codecs-many", "1.6", "17 codecs", "standpipe 1\ncodecs: "+strings.Repeat("c ", 16)+"c\n\n"),
		dies("codecs-spaces", "1.6", "two spaces between codecs", "standpipe 1\ncodecs: msgpack  json\n\n"),
		dies("codecs-name", "1.6", "a codec's name that is none", "standpipe 1\ncodecs: msgpack JSON!\n\n"),
	}
	return list
}

func messages() []vector {
	one := behindHello("message-")
	dies := func(name, clause, about string, parts ...part) vector {
		return one(name, clause, "dies", about, parts...)
	}
	head := func(about string, length uint32, kind, flags byte, buffers uint16, rest ...[]byte) part {
		return part{about, append(header(length, kind, flags, buffers), cat(rest...)...)}
	}
	call := open(1, "echo")
	n := uint32(len(call))
	closed := behindHello("message-", "then: close")
	return []vector{
		closed("cut-header", "2.4", "dies", "the connection ends inside a header", part{"5 bytes of a header", header(n, 1, 0, 0)[:5]}),
		closed("cut-data", "2.4", "dies", "the connection ends inside a frame", part{"a header and half its data", cat(header(n, 1, 0, 0), call[:5])}),
		closed("end", "2.6", "ends", "a connection that ends between two frames", part{"a frame to be ignored", append(header(3, 200, 0, 0), 1, 2, 3)}),
		dies("too-large", "2.4", "data above max-message, refused by its header alone", head("a length of 16 MiB + 1", 16<<20+1, 1, 0, 0)),
		dies("huge", "2.4", "the largest length there is", head("a length of 4 GiB - 1", 1<<32-1, 1, 0, 0)),
		dies("flags", "2.4", "a flag that version 1 does not know", head("flags 1", n, 1, 1, 0, call)),
		dies("kind-0", "2.4", "no kind", head("kind 0", n, 0, 0, 0, call)),
		dies("kind-3", "2.4", "an unknown kind below 128", head("kind 3", n, 3, 0, 0, call)),
		dies("kind-127", "2.4", "an unknown kind below 128", head("kind 127", n, 127, 0, 0, call)),
		one("kind-128", "2.5", "answers", "an unknown kind from 128 on is skipped", head("kind 128", 4, 128, 0, 0, []byte("skip")), frame("echo, stream 1", call)),
		dies("kind-255-large", "2.5", "a frame to be ignored has a limit, too", head("kind 255, 16 MiB + 1", 16<<20+1, 255, 0, 0)),
		dies("abort", "2.3", "the peer gives up", head("abort: no more", 7, 2, 0, 0, []byte("no more"))),
		dies("abort-long", "2.3", "an abort with more than 1024 bytes", head("abort, 1025 bytes", 1025, 2, 0, 0)),
		dies("abort-buffers", "2.3", "an abort with buffers", head("abort, 1 buffer", 16, 2, 0, 1, ref(0, 0))),
		one("buffer", "3.12", "answers", "buffers that no value refers to are ignored", head("echo, stream 1, one buffer of 3 bytes", 16+n+3, 1, 0, 1, ref(3, 0), call, []byte("abc"))),
		dies("buffers-many", "2.4", "65 buffers", head("65 buffers", 65*16+n, 1, 0, 65)),
		dies("buffers-refs", "2.4", "references that do not fit the length", head("2 buffers in 31 bytes", 31, 1, 0, 2)),
		dies("buffers-fit", "2.4", "a buffer that does not fit the length", head("one buffer of 4 bytes in 3", 16+3, 1, 0, 1, ref(4, 0), []byte("abc"))),
		dies("buffers-wrap", "2.4", "buffers whose sizes add up beyond 64 bits", head("two buffers", 32+3, 1, 0, 2, ref(1<<63, 0), ref(1<<63, 0), []byte("abc"))),
		dies("buffers-shared", "2.2", "a reference to shared memory, which was not agreed on", head("one buffer elsewhere", 16+n, 1, 0, 1, ref(0, 1), call)),
		dies("buffers-large", "2.4", "buffers above max-buffers", head("1 GiB + 1 of buffers", 16+1<<30+1, 1, 0, 1, ref(1<<30+1, 0))),
		dies("data-beside-buffers", "2.4", "data above max-message, beside a buffer", head("16 MiB + 1 of data", 16+1+16<<20+1, 1, 0, 1, ref(1, 0))),
		dies("empty", "3.10", "a message without an rpc frame", head("no data", 0, 1, 0, 0)),
	}
}

func opens() []vector {
	call := behindHello("open-", "stream: 1")
	timed := func(ns uint64, method string) []byte {
		b := rpcHeader(1, 1, 3, 0, byte(len(method)))
		return cat(binary.LittleEndian.AppendUint64(b, ns), []byte(method), []byte{0xa2, 'h', 'i'})
	}
	with := func(codec byte, value string) []byte {
		return cat(rpcHeader(1, 1, 1, codec, 4), []byte("echo"), []byte(value))
	}
	deep := cat(rpcHeader(1, 1, 1, 0, 4), []byte("echo"), []byte(strings.Repeat("\x91", 100000)), []byte{0xc0})
	return []vector{
		call("echo", "3.3", "answers", "a call", frame("echo, stream 1", open(1, "echo"))),
		call("time", "3.3", "answers", "a call with a time limit of one minute", frame("echo, stream 1", timed(60e9, "echo"))),
		call("time-up", "3.11", "fails DeadlineExceeded", "a time limit that runs out", frame("hang, stream 1, 1 ms", timed(1e6, "hang"))),
		call("time-huge", "3.3", "answers", "the longest time limit there is", frame("echo, stream 1", timed(1<<64-1, "echo"))),
		call("json", "3.3", "answers", "the second codec of this opener's list", frame("echo, stream 1, json", with(1, `"hi"`))),
		call("method-unknown", "3.11", "fails Unimplemented", "a method that nobody handles", frame("nope, stream 1", open(1, "nope"))),
		call("codec-unknown", "3.11", "fails Unimplemented", "a codec that the called side does not have", frame("echo, stream 1, morse", with(2, ".... .."))),
		call("codec-beyond", "3.11", "fails Unimplemented", "a codec beyond the opener's list", frame("echo, stream 1, codec 3", with(3, "hi"))),
		call("value-bad", "3.11", "fails InvalidArgument", "a value that is no MessagePack", frame("echo, stream 1", with(0, "\xc1"))),
		call("value-empty", "3.11", "fails InvalidArgument", "no bytes are no value", frame("echo, stream 1", with(0, ""))),
		call("value-more", "3.11", "fails InvalidArgument", "bytes behind the value", frame("echo, stream 1", with(0, "\xa2hi\xa2hi"))),
		call("value-deep", "3.11", "fails InvalidArgument", "a value nested too deep to be decoded", frame("echo, stream 1, 100000 arrays", deep)),
		call("value-deep-unknown", "3.11", "fails InvalidArgument", "a value nested too deep in a field that the method does not know",
			frame("known, stream 1, 200000 arrays", cat(rpcHeader(1, 1, 1, 0, 5), []byte("known\x81\xa1z"), []byte(strings.Repeat("\x91", 200000)), []byte{0xc0}))),
		call("value-claims", "3.11", "fails InvalidArgument", "a map that claims 4 billion pairs", frame("echo, stream 1", with(0, "\xdf\xff\xff\xff\xff"))),
		call("value-long", "3.11", "fails InvalidArgument", "an array that claims 4 billion elements", frame("echo, stream 1", with(0, "\xdd\xff\xff\xff\xff"))),
		call("short", "3.10", "dies", "a frame shorter than its header", frame("7 bytes", open(1, "echo")[:7])),
		call("stream-0", "3.10", "dies", "stream 0", frame("echo, stream 0", open(0, "echo"))),
		call("parity", "3.10", "dies", "a dialer that opens an even stream", frame("echo, stream 2", open(2, "echo"))),
		call("twice", "3.10", "dies", "a number that is in use", frame("hang, stream 1", open(1, "hang")), frame("echo, stream 1", open(1, "echo"))),
		call("type-8", "3.10", "dies", "a type that version 1 does not know", frame("type 8", rpcHeader(1, 8, 0, 0, 0))),
		call("type-0", "3.10", "dies", "no type", frame("type 0", rpcHeader(1, 0, 0, 0, 0))),
		call("flag", "3.10", "dies", "an unknown flag", frame("flags 0x41", cat(rpcHeader(1, 1, 0x41, 0, 4), []byte("echo\xa2hi")))),
		call("flag-end", "3.10", "dies", "a flag that belongs to data", frame("flags 0x21", cat(rpcHeader(1, 1, 0x21, 0, 4), []byte("echo\xa2hi")))),
		call("no-value", "3.10", "dies", "neither flag value nor flag stream", frame("flags 0", cat(rpcHeader(1, 1, 0, 0, 4), []byte("echo\xa2hi")))),
		call("method-empty", "3.10", "dies", "an empty method", frame("method of 0 bytes", cat(rpcHeader(1, 1, 1, 0, 0), []byte("\xa2hi")))),
		call("method-cut", "3.10", "dies", "a frame that ends in its method", frame("method of 9 bytes", cat(rpcHeader(1, 1, 1, 0, 9), []byte("echo")))),
		call("method-utf8", "3.10", "dies", "a method that is not UTF-8", frame("method ff", cat(rpcHeader(1, 1, 1, 0, 1), []byte("\xff\xa2hi")))),
		call("time-cut", "3.10", "dies", "a frame that ends in its time limit", frame("4 bytes of time", cat(rpcHeader(1, 1, 3, 0, 4), []byte{1, 2, 3, 4}))),
	}
}

func closes() []vector {
	one := behindHello("close-", "stream: 1")
	hang := frame("hang, stream 1", open(1, "hang"))
	return []vector{
		one("cancel", "3.5", "fails Canceled", "a cancel is answered by a close", hang, frame("cancel, stream 1", cancel(1, 1))),
		one("cancel-deadline", "3.5", "fails DeadlineExceeded", "a cancel because the opener's time is up", hang, frame("cancel, stream 1", cancel(1, 4))),
		one("cancel-late", "3.12", "lives", "a cancel of a number that is not in use", frame("cancel, stream 77", cancel(77, 1))),
		one("cancel-code", "3.10", "dies", "a cancel with another code", hang, frame("close, code 5", cancel(1, 5))),
		one("cancel-long", "3.10", "dies", "a cancel with bytes behind its header", hang, frame("cancel and 1 byte", append(cancel(1, 1), 0))),
		one("cancel-flag", "3.10", "dies", "a cancel with a flag", hang, frame("flags 1", rpcHeader(1, 3, 1, 1, 0))),
		one("cancel-twice", "3.12", "fails Canceled", "a second cancel, which crosses the answer", hang, frame("cancel, stream 1", cancel(1, 1)), frame("cancel, stream 1", cancel(1, 1))),
		one("header", "3.10", "dies", "a cancel with metadata", hang, frame("flags 4", cat(rpcHeader(1, 3, 4, 1, 0), []byte{0, 0}))),
		one("code-17", "3.10", "dies", "a code above 16", hang, frame("close, code 17", cancel(1, 17))),
		one("code-256", "3.10", "dies", "a code above 16, in its second byte", hang, frame("close, code 257", cancel(1, 257))),
		one("ok-flag", "3.10", "dies", "code 0 without flag 0x01", hang, frame("close, code 0", cancel(1, 0))),
		one("answer-not-open", "3.10", "dies", "an answer to a call that the listener did not make", frame("close, stream 2, code 0", cat(rpcHeader(2, 3, 1, 0, 0), []byte{0xc0}))),
		one("error-not-open", "3.10", "dies", "an error for a call that the listener did not make", frame("close, stream 4, code 5", cat(cancel(4, 5), []byte{0, 0, 0, 0}))),
	}
}

func streams() []vector {
	one := behindHello("stream-", "stream: 1")
	open := func(method string, flags byte) []byte {
		return append(rpcHeader(1, 1, flags, 0, byte(len(method))), method...)
	}
	data := func(stream uint32, flags byte, value string) []byte {
		return append(rpcHeader(stream, 2, flags, 0, 0), value...)
	}
	credit := func(stream, n uint32) []byte {
		return binary.LittleEndian.AppendUint32(rpcHeader(stream, 4, 0, 0, 0), n)
	}
	each, mute := frame("each, stream 1", open("each", 0x10)), frame("mute, stream 1", open("mute", 0x10))
	hi := frame("hi, stream 1", data(1, 1, "\xa2hi"))
	end := frame("the end, stream 1", data(1, 0x20, ""))
	full := frame("65528 bytes and the header, stream 1: all of the credit", data(1, 1, "\xc5\xff\xf5"+strings.Repeat("x", 65525)))
	return []vector{
		one("each", "3.4", "streams", "a stream of one value", each, hi, end),
		one("last", "3.4", "streams", "the last value comes with the end", each, frame("hi and the end, stream 1", data(1, 0x21, "\xa2hi"))),
		one("empty-value", "3.4", "fails InvalidArgument", "an empty value is a value, though none of MessagePack", each, frame("no bytes, stream 1", data(1, 1, ""))),
		one("cancel", "3.5", "fails Canceled", "a stream that is cancelled", mute, frame("cancel, stream 1", cancel(1, 1))),
		one("time-up", "3.11", "fails DeadlineExceeded", "a stream's time limit that runs out", frame("mute, stream 1, 1 ms", cat(rpcHeader(1, 1, 0x12, 0, 4), []byte{0x40, 0x42, 0x0f, 0, 0, 0, 0, 0}, []byte("mute")))),
		one("unary-opened", "3.8", "fails Unimplemented", "a unary method that is opened as a stream", frame("echo, stream 1", open("echo", 0x10))),
		one("stream-called", "3.8", "fails Unimplemented", "a stream that is called as a unary method", frame("each, stream 1", append(open("each", 0x01), "\xa2hi"...))),
		one("both-kinds", "3.10", "dies", "an open with both of the flags value and stream", frame("flags 0x11", append(open("each", 0x11), "\xa2hi"...))),
		one("open-value", "3.10", "dies", "a stream that is opened with a value", frame("each, stream 1", append(open("each", 0x10), "\xa2hi"...))),
		one("flags-0", "3.10", "dies", "data without flags", mute, frame("flags 0", data(1, 0, ""))),
		one("flag-stream", "3.10", "dies", "a flag that belongs to an open", mute, frame("flags 0x11", data(1, 0x11, "\xa2hi"))),
		one("value-unsaid", "3.10", "dies", "bytes behind the end, and no flag value", mute, frame("flags 0x20", data(1, 0x20, "\xa2hi"))),
		one("bytes-6", "3.10", "dies", "data whose bytes 6 and 7 are not 0", mute, frame("at 6: 1", append(rpcHeader(1, 2, 1, 1, 0), 0xc0))),
		one("header", "3.10", "dies", "a header from the opener", mute, frame("flags 5", data(1, 5, "\x00\x00\xa2hi"))),
		one("behind-end", "3.10", "dies", "data behind the end", mute, end, hi),
		one("end-twice", "3.10", "dies", "a second end", mute, end, end),
		one("unary-data", "3.10", "dies", "data for a unary call", frame("hang, stream 1", append(open("hang", 1), 0xc0)), hi),
		one("stream-0", "3.10", "dies", "data for stream 0", frame("stream 0", data(0, 1, "\xa2hi"))),
		one("not-open", "3.12", "lives", "data for a number that is not in use: it crossed the answer", frame("hi, stream 77", data(77, 1, "\xa2hi"))),
		one("not-opened", "3.10", "dies", "data for a stream that the listener has not opened", frame("hi, stream 2", data(2, 1, "\xa2hi"))),
		one("credit-used", "3.9", "lives", "as much as the credit allows", mute, full),
		one("credit-over", "3.9", "lives", "one frame may take the credit below 0", mute, frame("65527 bytes and the header", data(1, 1, "\xc5\xff\xf4"+strings.Repeat("x", 65524))), hi),
		one("credit-none", "3.10", "dies", "data where the credit is used up", mute, full, hi),
		one("credit", "3.7", "lives", "credit for a stream", mute, frame("1, stream 1", credit(1, 1))),
		one("credit-late", "3.12", "lives", "credit for a number that is not in use", frame("1, stream 77", credit(77, 1))),
		one("credit-unary", "3.12", "lives", "credit for a unary call", frame("hang, stream 1", append(open("hang", 1), 0xc0)), frame("1, stream 1", credit(1, 1))),
		one("credit-0", "3.10", "dies", "a credit of 0", mute, frame("0, stream 1", credit(1, 0))),
		one("credit-large", "3.10", "dies", "a credit above 2147483647", mute, frame("2147483648, stream 1", credit(1, 1<<31))),
		one("credit-sum", "3.10", "dies", "credits that add up to more than 2147483647", mute, frame("2147483647, stream 1", credit(1, 1<<31-1)), frame("the same again", credit(1, 1<<31-1))),
		one("credit-short", "3.10", "dies", "a credit of 3 bytes", mute, frame("3 bytes", credit(1, 1)[:11])),
		one("credit-stream-0", "3.10", "dies", "credit for stream 0", frame("stream 0", credit(0, 1))),
	}
}

func metadata() []vector {
	behind := behindHello("metadata-", "stream: 1")
	one := func(name, clause, expect, about string, block []byte) vector {
		return behind(name, clause, expect, about, frame("meta, stream 1", cat(rpcHeader(1, 1, 5, 0, 4), block, []byte("meta\xc0"))))
	}
	entry := func(k, v string) []byte {
		return cat([]byte{byte(len(k))}, []byte(k), binary.LittleEndian.AppendUint16(nil, uint16(len(v))), []byte(v))
	}
	block := func(entries ...[]byte) []byte {
		b := cat(entries...)
		return append(binary.LittleEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	many := func(n int) (entries [][]byte) {
		for range n {
			entries = append(entries, entry("x", ""))
		}
		return entries
	}
	k := entry("k", "hi")
	return []vector{
		one("one", "3.6", "answers", "one entry, which comes back in header and trailer", block(k)),
		one("two", "3.6", "answers", "another key beside it", block(entry("a-b_c.9", "\x00\xff"), k)),
		one("most", "3.6", "answers", "64 entries", block(append(many(63), k)...)),
		one("longest", "3.6", "answers", "16384 bytes", block(entry("x", strings.Repeat("v", 16384-6-4)), k)),
		one("many", "3.10", "dies", "65 entries", block(append(many(64), k)...)),
		one("too-long", "3.10", "dies", "16385 bytes", block(entry("x", strings.Repeat("v", 16384-6-3)), k)),
		one("key-empty", "3.10", "dies", "an empty key", block(entry("", "v"))),
		one("key-long", "3.10", "dies", "a key of 65 bytes", block(entry(strings.Repeat("k", 65), "v"))),
		one("key-case", "3.10", "dies", "keys are lower-case", block(entry("K", "v"))),
		one("key-cut", "3.10", "dies", "a key that goes beyond the block", []byte{2, 0, 9, 'k'}),
		one("value-cut", "3.10", "dies", "a value that goes beyond the block", []byte{4, 0, 1, 'k', 9, 0}),
		one("block-cut", "3.10", "dies", "a block that goes beyond the frame", []byte{0xff, 0x3f, 1, 'k'}),
	}
}

func connections() []vector {
	behind := behindHello("connection-")
	one := func(name, clause, expect, about string, rpc []byte) vector {
		return behind(name, clause, expect, about, frame(name, rpc))
	}
	return []vector{
		one("drain", "3.7", "lives", "the dialer takes no further calls; it may still make some", rpcHeader(0, 5, 0, 0, 0)),
		one("pong", "3.12", "lives", "a pong that was not asked for", rpcHeader(0, 7, 0, 0, 0)),
		one("ping-stream", "3.10", "dies", "a ping with a stream", rpcHeader(1, 6, 0, 0, 0)),
		one("ping-flags", "3.10", "dies", "a ping with a flag", rpcHeader(0, 6, 1, 0, 0)),
		one("ping-long", "3.10", "dies", "a ping with bytes behind its header", append(rpcHeader(0, 6, 0, 0, 0), 0)),
		one("drain-long", "3.10", "dies", "a drain with bytes behind its header", append(rpcHeader(0, 5, 0, 0, 0), 0)),
		one("drain-bytes-6", "3.10", "dies", "a drain whose bytes 6 and 7 are not 0", rpcHeader(0, 5, 0, 1, 0)),
		one("ping", "3.7", "pongs", "a ping is answered", rpcHeader(0, 6, 0, 0, 0)),
	}
}
