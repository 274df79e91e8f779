package main

import (
	"testing"

	"github.com/standpipe/standpipe/rpc"
)

// What a record of 64 bytes costs to encode and to decode: as it is, and with code that was generated.
func BenchmarkCodec(b *testing.B) {
	r := newRecord(make([]byte, recordPayload(smallCall)))
	g := generatedRecord(r)
	buf, err := rpc.MessagePack.Append(nil, &r)
	if err != nil {
		b.Fatal(err)
	}
	encoded := append([]byte(nil), buf...)
	encode := func(v any) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = rpc.MessagePack.Append(buf[:0], v)
			}
		}
	}
	b.Run("encode", encode(&r))
	b.Run("encode generated", encode(&g))
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r = record{}
			if err := rpc.MessagePack.Unmarshal(encoded, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			g = generatedRecord{}
			if err := rpc.MessagePack.Unmarshal(encoded, &g); err != nil {
				b.Fatal(err)
			}
		}
	})
}
