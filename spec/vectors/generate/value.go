package main

import "fmt"

// Buffers in values: spec/memory.md, 4.10.

func values() []vector {
	return append(arguments(), results()...)
}

// ext is a reference in MessagePack.
func ext(place byte) string { return string([]byte{0xd4, 1, place}) }

// at is a map whose keys a, b and so on have these values, in MessagePack.
func at(values ...string) string {
	b := []byte{0x80 + byte(len(values))}
	for i, v := range values {
		b = append(b, 0xa1, 'a'+byte(i))
		b = append(b, v...)
	}
	return string(b)
}

// arguments are values of the caller's: calls of copy, with buffers of 5 and 7 bytes in the message.
func arguments() []vector {
	one := func(name, expect, about string, codec byte, value string) vector {
		refs := [][]byte{ref(5, 0), ref(7, 0)}
		data := cat(rpcHeader(1, 1, 1, codec, 4), []byte("copy"), []byte(value))
		frame := cat(header(uint32(32+len(data)+12), 1, 0, 2), cat(refs...), data, pattern(5), pattern(7))
		return sessions("value-", "", plainHello, "needs: calls", "stream: 1")(name, "4.10", expect, about,
			bytesOf(fmt.Sprintf("copy, stream 1: buffers of 5 and 7 bytes, and the value %q", value), frame))
	}
	pack := func(name, expect, about string, values ...string) vector {
		return one("pack-"+name, expect, about, 0, at(values...))
	}
	json := func(name, expect, about, value string) vector { return one("json-"+name, expect, about, 1, value) }
	const no = "fails InvalidArgument"
	return []vector{
		pack("one", "answers 5", "one buffer; the other is not referred to, which is ignored", ext(0)),
		pack("two", "answers 5 7", "two buffers", ext(0), ext(1)),
		pack("crossed", "answers 7 5", "two buffers, the second one first", ext(1), ext(0)),
		pack("nothing", "answers", "place 255 is no buffer", ext(255)),
		pack("nothing-and-one", "answers 7", "no buffer, and one", ext(255), ext(1)),
		pack("none", "answers", "buffers that no value refers to are ignored"),
		pack("place-2", no, "a place that the message does not have", ext(2)),
		pack("place-254", no, "the last place there is, which the message does not have", ext(254)),
		pack("twice", no, "a place that two fields claim", ext(1), ext(1)),
		pack("ext-empty", no, "an extension of no bytes", "\xc7\x00\x01"),
		pack("ext-long", no, "an extension of two bytes", "\xd5\x01\x00\x00"),
		pack("ext-other", no, "an extension of another type", "\xd4\x02\x00"),
		pack("number", no, "a number, where a buffer should be", "\x00"),
		json("one", "answers 5", "one buffer", `{"a":{"$buffer":0}}`),
		json("two", "answers 7 5", "two buffers, the second one first", `{"a":{"$buffer":1},"b":{"$buffer":0}}`),
		json("space", "answers 5", "spaces are nothing", `{ "a" : { "$buffer" : 0 } }`),
		json("null", "answers 5", "null is no buffer", `{"a":{"$buffer":0},"b":null}`),
		json("place-2", no, "a place that the message does not have", `{"a":{"$buffer":2}}`),
		json("place-255", no, "in JSON, 255 is a place as others", `{"a":{"$buffer":255}}`),
		json("place-negative", no, "a place below 0", `{"a":{"$buffer":-1}}`),
		json("place-half", no, "a place that is no whole number", `{"a":{"$buffer":0.5}}`),
		json("place-text", no, "a place that is a text", `{"a":{"$buffer":"0"}}`),
		json("twice", no, "a place that two fields claim", `{"a":{"$buffer":1},"b":{"$buffer":1}}`),
		json("more", no, "something else in the object", `{"a":{"$buffer":0,"more":1}}`),
		json("other", no, "an object that is no reference", `{"a":{"buffer":0}}`),
		json("empty", no, "an empty object", `{"a":{}}`),
		json("text", no, "a text, where a buffer should be", `{"a":"0"}`),
	}
}

// results are values of an answer, which the vector's side sends as the listener.
func results() []vector {
	one := func(name, expect, about string, value string) vector {
		refs := [][]byte{ref(5, 0), ref(7, 0)}
		data := cat(rpcHeader(1, 3, 1, 0, 0), []byte(value))
		frame := cat(header(uint32(32+len(data)+12), 1, 0, 2), cat(refs...), data, pattern(5), pattern(7))
		return sessions("value-result-", "", plainHello, "needs: calls", "from: listener")(name, "4.10", expect, about,
			bytesOf(fmt.Sprintf("close, stream 1: buffers of 5 and 7 bytes, and the value %q", value), frame).after("message"))
	}
	const no = "fails Internal"
	return []vector{
		one("one", "answers 5", "one buffer; the other is not referred to, which is ignored", at(ext(0))),
		one("crossed", "answers 7 5", "two buffers, the second one first", at(ext(1), ext(0))),
		one("nothing", "answers", "place 255 is no buffer", at(ext(255))),
		one("place-2", no, "a place that the message does not have", at(ext(2))),
		one("twice", no, "a place that two fields claim", at(ext(0), ext(0))),
		one("ext-long", no, "an extension of two bytes", at("\xd5\x01\x00\x00")),
	}
}
