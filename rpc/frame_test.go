package rpc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestErrorRoundTrip(t *testing.T) {
	for _, e := range []*Error{
		{Code: NotFound},
		{Code: Internal, Message: "naïve"},
		{Code: Unauthenticated, Message: "m", Details: []Detail{{"type.googleapis.com/x", []byte{1, 2}}, {"", []byte{}}}},
	} {
		b := appendError(nil, 7, e, nil, nil, 1<<20)
		f, err := parseFrame(b)
		if err != nil || f.stream != 7 || f.code != e.Code {
			t.Fatal(f, err)
		}
		got, err := parseError(f.code, f.value)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Fatalf("%+v became %+v, %v", e, got, err)
		}
		for i := range f.value { // no part of it is a whole one
			if _, err := parseError(f.code, f.value[:i]); err == nil {
				t.Fatalf("%d of %d bytes were taken", i, len(f.value))
			}
		}
		if _, err := parseError(f.code, append(bytes.Clone(f.value), 0)); err == nil {
			t.Fatal("a byte too many was taken")
		}
	}
}

// What is too long is cut so that it still is an error, and fits.
func TestErrorIsCut(t *testing.T) {
	e := &Error{Code: Unknown, Message: strings.Repeat("ä", 70000)}
	for range 100 {
		e.Details = append(e.Details, Detail{"t", make([]byte, 2000)})
	}
	for _, max := range []int{64 << 10, 1 << 20} {
		b := appendError(nil, 1, e, Metadata{"k": {"v"}}, Metadata{"k": {"v"}}, max)
		f, err := parseFrame(b)
		if err != nil || len(b) > max {
			t.Fatal(len(b), err)
		}
		got, err := parseError(f.code, f.value)
		if err != nil || len(got.Message) < 30000 || strings.Trim(got.Message, "ä") != "" || len(got.Details) > maxDetails {
			t.Fatal(len(got.Message), len(got.Details), err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	md := Metadata{"k": {"v", ""}, "other": {"\x00"}}
	f.Add(append(openFrame(1, flagValue, 0, "echo", 77, nil), "value"...))
	f.Add(openFrame(1, flagStream, 0, "each", 0, md))
	f.Add(appendError(nil, 2, &Error{Code: Aborted, Message: "m", Details: []Detail{{"t", []byte("v")}}}, md, md, 1<<16))
	f.Add(appendCancel(nil, 3, Canceled))
	f.Add(append(appendMetadata(appendFrame(nil, 3, typeData, flagMeta|flagValue, 0), md), "value"...))
	f.Add(appendCredit(nil, 3, 4096))
	f.Add(appendFrame(nil, 0, typePing, 0, 0))
	for _, v := range vectorFrames(f) {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := parseFrame(b)
		if err != nil {
			return
		}
		if fr.typ == typeOpen {
			if fr.has(flagMeta) {
				checkMetadata(t, fr.meta)
				return
			}
			again := append(openFrame(fr.stream, fr.flags&(flagValue|flagStream), fr.codec, string(fr.method), fr.timeout, nil), fr.value...)
			if fr.flags&flagTime != 0 && bytes.Equal(b[8:16], make([]byte, 8)) {
				return // no time left is the least time left
			}
			if !bytes.Equal(again, b) {
				t.Fatalf("% x became % x", b, again)
			}
			return
		}
		checkMetadata(t, fr.meta)
		checkMetadata(t, fr.header)
		if fr.typ != typeClose || fr.code == OK {
			return
		}
		if e, err := parseError(fr.code, fr.value); err == nil && len(e.Details) > maxDetails {
			t.Fatal("too many details")
		}
	})
}

// Hostile values end in an error: no crash, no hang, no memory on the word of a length.
func FuzzMessagePack(f *testing.F) {
	for _, v := range []any{nil, 1, "s", []any{1, "x"}, map[string]any{"a": []byte("b")}} {
		b, err := MessagePack.Append(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(bytes.Repeat([]byte{0x91}, 10000))
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xc6, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		_ = MessagePack.Unmarshal(b, &v)
		var s struct {
			A []int          `json:"a"`
			B map[string]any `json:"b"`
			C []byte         `json:"c"`
			D *float64       `json:"d"`
		}
		_ = MessagePack.Unmarshal(b, &s)
	})
}

// openFrame is a whole open frame, but for its value.
func openFrame(stream uint32, kind, codec uint8, method string, timeout uint64, md Metadata) []byte {
	b := appendOpen(nil, kind, codec, method, timeout, md)
	binary.LittleEndian.PutUint32(b, stream)
	return b
}

// checkMetadata: a block that the parser takes is one that may be sent, and comes out of a second trip as it went in.
func checkMetadata(t *testing.T, block []byte) {
	md := parseMetadata(block)
	if err := md.check(); err != nil {
		t.Fatalf("% x: %v", block, err)
	}
	again, rest, err := cutMetadata(appendMetadata(nil, md))
	if err != nil || len(rest) != 0 || !reflect.DeepEqual(parseMetadata(again), md) {
		t.Fatalf("% x became % x, %v", block, again, err)
	}
}

// vectorFrames is every rpc frame of the vectors.
func vectorFrames(tb testing.TB) (frames [][]byte) {
	files, err := filepath.Glob("../spec/vectors/wire/*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatal(err)
	}
	for _, file := range files {
		_, body := readVector(tb, file)
		i := bytes.Index(body, []byte("\n\n"))
		if i < 0 {
			continue
		}
		for b := body[i+2:]; len(b) >= 8; {
			n := binary.LittleEndian.Uint32(b)
			if uint64(n) > uint64(len(b)-8) {
				break
			}
			frames = append(frames, b[8:8+n])
			b = b[8+n:]
		}
	}
	return frames
}

func TestMetadataLimits(t *testing.T) {
	many := Metadata{}
	for i := range maxEntries + 1 {
		many[fmt.Sprint("k", i)] = []string{""}
	}
	for name, md := range map[string]Metadata{
		"empty key": {"": {"v"}}, "upper case": {"Key": {"v"}}, "long key": {strings.Repeat("k", 65): {"v"}},
		"space": {"a b": {"v"}}, "long value": {"k": {strings.Repeat("v", maxMetadata)}}, "many": many,
	} {
		if md.check() == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	full := Metadata{"k": {strings.Repeat("v", maxMetadata-4)}}
	if err := full.check(); err != nil {
		t.Fatal(err)
	}
	checkMetadata(t, appendMetadata(nil, full)[2:])
}

func parseFrame(b []byte) (f frame, err error) {
	err = f.parse(b)
	return f, err
}
