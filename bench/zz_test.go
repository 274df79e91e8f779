package main

import (
	"testing"

	"github.com/standpipe/standpipe/rpc"
)

func BenchmarkCodec(b *testing.B) {
	r := newRecord(make([]byte, recordPayload(64)))
	enc, _ := rpc.MessagePack.Append(nil, &r)
	g := generatedRecord(r)
	buf := make([]byte, 0, 256)
	b.Run("enc-refl", func(b *testing.B) { for range b.N { buf, _ = rpc.MessagePack.Append(buf[:0], &r) } })
	b.Run("enc-gen", func(b *testing.B) { for range b.N { buf, _ = rpc.MessagePack.Append(buf[:0], &g) } })
	var o record
	var og generatedRecord
	b.Run("dec-refl", func(b *testing.B) { for range b.N { o = record{}; rpc.MessagePack.Unmarshal(enc, &o) } })
	b.Run("dec-gen", func(b *testing.B) { for range b.N { og = generatedRecord{}; rpc.MessagePack.Unmarshal(enc, &og) } })
}
