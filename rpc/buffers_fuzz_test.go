package rpc

import (
	"bytes"
	"slices"
	"testing"

	"github.com/standpipe/standpipe/msg"
)

// fuzzedBuffers has Buffers wherever they may be.
type fuzzedBuffers struct {
	A     msg.Buffer            `json:"a"`
	B     *msg.Buffer           `json:"b"`
	List  []msg.Buffer          `json:"list"`
	Map   map[string]msg.Buffer `json:"map"`
	Array [2]msg.Buffer         `json:"array"`
	Deep  *fuzzedBuffers        `json:"deep"`
	Any   any                   `json:"any"`
}

// each gives f what is in v.
func (v *fuzzedBuffers) each(f func(msg.Buffer)) {
	if v == nil {
		return
	}
	f(v.A)
	if v.B != nil {
		f(*v.B)
	}
	for _, b := range slices.Concat(v.List, v.Array[:]) {
		f(b)
	}
	for _, b := range v.Map {
		f(b)
	}
	v.Deep.each(f)
}

// FuzzBuffers decodes whatever value, beside Buffers: each of these is in the value once, or was released; and where the value is refused, all
// of them were.
func FuzzBuffers(f *testing.F) {
	for _, v := range valueVectors(f) {
		i := bytes.Index(v.body, []byte("copy")) + 4
		if v.head["from"] == "listener" {
			i = bytes.LastIndex(v.body, []byte{1, 0, 0, 0, 3, 1, 0, 0}) + 8
		}
		f.Add(bytes.HasPrefix(v.body[i:], []byte("{")), uint8(2), v.body[i:len(v.body)-12])
	}
	f.Add(true, uint8(3), []byte(`{"list":[{"$buffer":2},null],"map":{"x":{"$buffer":0}},"array":[{"$buffer":1}],"deep":{"b":null},"any":{"$buffer":1}}`))
	f.Fuzz(func(t *testing.T, text bool, n uint8, value []byte) {
		codec := MessagePack
		if text {
			codec = JSON
		}
		buffers := make([]msg.Buffer, n%5)
		for i := range buffers {
			buffers[i] = msg.MarkedBuffer(-1)
		}
		var v fuzzedBuffers
		err := decodeWith(codec, value, &v, buffers)
		var found []msg.Buffer
		v.each(func(b msg.Buffer) { found = append(found, b) })
		for i, b := range buffers {
			times := 0
			for _, x := range found {
				if x == b {
					times++
				}
			}
			if times > 1 || err != nil && b.Valid() || err == nil && b.Valid() != (times == 1) {
				t.Fatalf("buffer %d is in the value %d times, and here: %v, with %v", i, times, b.Valid(), err)
			}
		}
	})
}
