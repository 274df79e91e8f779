package rpc

import (
	"bytes"
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
		b := appendError(nil, 7, e, 1<<20)
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
		b := appendError(nil, 1, e, max)
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
	f.Add(append(appendOpen(nil, 1, 0, "echo", 77), "value"...))
	f.Add(appendError(nil, 2, &Error{Code: Aborted, Message: "m", Details: []Detail{{"t", []byte("v")}}}, 1<<16))
	f.Add(appendClose(nil, 3, Canceled))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := parseFrame(b)
		if err != nil {
			return
		}
		if fr.typ == typeOpen {
			again := append(appendOpen(nil, fr.stream, fr.codec, string(fr.method), fr.timeout), fr.value...)
			if fr.flags&flagTime != 0 && bytes.Equal(b[8:16], make([]byte, 8)) {
				return // no time left is the least time left
			}
			if !bytes.Equal(again, b) {
				t.Fatalf("% x became % x", b, again)
			}
			return
		}
		if fr.code == OK {
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
