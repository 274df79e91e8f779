package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// rawServer passes on what it gets, as it is, and says in the header how it was encoded.
func rawServer() *rpc.Server {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "raw", func(ctx context.Context, in rpc.Raw) (rpc.Raw, error) {
		return in, rpc.SetHeader(ctx, rpc.Metadata{"codec": {in.Codec.Name()}})
	})
	rpc.HandleStream(s, "stream", func(ctx context.Context, st *rpc.Stream[rpc.Raw, rpc.Raw]) error {
		for v, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(v); err != nil {
				return err
			}
			v.Release()
		}
		return nil
	})
	rpc.Handle(s, "point", func(_ context.Context, in point) (point, error) { return in, nil })
	rpc.Handle(s, "proto", func(ctx context.Context, in *structpb.Value) (*wrapperspb.StringValue, error) {
		return wrapperspb.String(in.GetStringValue() + "!"), nil
	})
	rpc.Handle(s, "result", func(context.Context, struct{}) (*wrapperspb.StringValue, error) {
		return wrapperspb.String("result"), nil
	})
	rpc.Handle(s, "argument", func(_ context.Context, in *wrapperspb.StringValue) (struct{}, error) {
		if in.Value != "argument" {
			return struct{}{}, rpc.Errorf(rpc.InvalidArgument, "%v", in)
		}
		return struct{}{}, nil
	})
	rpc.HandleStream(s, "proto stream", func(_ context.Context, st *rpc.Stream[*structpb.Value, *wrapperspb.StringValue]) error {
		for v, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(wrapperspb.String(v.GetStringValue() + "!")); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

// rawSizes are around the limits where values change their memory and their way.
var rawSizes = []int{0, 1, 4095, 4096, 4097, 32 << 10, 65535, 65536, 1 << 20, 5 << 20}

// Bytes go through as they are, whatever codec the peers speak, and though they are no value of it.
func TestRawPasses(t *testing.T) {
	serve(t, rawServer(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		for _, codec := range []rpc.Codec{rpc.MessagePack, rpc.JSON, rpc.Protobuf} {
			p := dial(&rpc.DialConfig{Codec: codec})
			st, err := rpc.Open[rpc.Raw, rpc.Raw](bounded(t), p, "stream")
			if err != nil {
				t.Fatal(err)
			}
			for i, n := range rawSizes {
				want := bytes.Repeat([]byte{0xc1, byte(i)}, n)[:n]
				var header rpc.Metadata
				got, err := rpc.Call[rpc.Raw](rpc.WithReply(bounded(t), &header, nil), p, "raw", rpc.Raw{Data: want})
				if err != nil || !bytes.Equal(got.Data, want) || got.Codec.Name() != codec.Name() || header["codec"][0] != codec.Name() {
					t.Fatalf("%s: %d bytes became %d, %v, %v", codec.Name(), n, len(got.Data), header, err)
				}
				if err := st.Send(rpc.Raw{Codec: codec, Data: want}); err != nil {
					t.Fatal(err)
				}
				v, err := st.Recv()
				if err != nil || !bytes.Equal(v.Data, want) || v.Codec.Name() != codec.Name() {
					t.Fatalf("%s: %d bytes of a stream became %d, %v", codec.Name(), n, len(v.Data), err)
				}
				got.Release()
				got.Release()
				v.Release()
				if got.Data != nil || v.Data != nil {
					t.Error("there still is data behind Release")
				}
			}
			if err := st.CloseSend(); err != nil {
				t.Error(err)
			}
			if _, err := st.Recv(); err != io.EOF {
				t.Error(err)
			}
		}
	})
}

// What is received is the receiver's own: whatever comes behind it, and whoever releases his.
func TestRawIsOnesOwn(t *testing.T) {
	p := startServing(t, rawServer()).dial(t, nil)
	st, err := rpc.Open[rpc.Raw, rpc.Raw](bounded(t), p, "stream")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	type own struct {
		raw  rpc.Raw
		want []byte
	}
	var kept []own
	for i := range 40 {
		want := bytes.Repeat([]byte{byte(i)}, []int{10, 4097, 40 << 10, 200 << 10}[i%4])
		got, err := rpc.Call[rpc.Raw](bounded(t), p, "raw", rpc.Raw{Data: want})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Send(rpc.Raw{Data: want}); err != nil {
			t.Fatal(err)
		}
		v, err := st.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 { // some are given back, and their memory is used again
			got.Release()
			v.Release()
			continue
		}
		kept = append(kept, own{got, want}, own{v, want})
	}
	for i, k := range kept {
		if !bytes.Equal(k.raw.Data, k.want) {
			t.Errorf("value %d, of %d bytes, was overwritten", i, len(k.want))
		}
		k.raw.Release()
	}
}

func TestRawDecode(t *testing.T) {
	p := startServing(t, rawServer()).dial(t, nil)
	for _, codec := range []rpc.Codec{rpc.MessagePack, rpc.JSON} {
		ctx := rpc.WithCodec(bounded(t), codec)
		got, err := rpc.Call[rpc.Raw](ctx, p, "point", samplePoint())
		if err != nil {
			t.Fatal(err)
		}
		var v point
		if err := got.Decode(&v); err != nil || !reflect.DeepEqual(v, samplePoint()) {
			t.Errorf("%s: %+v, %v", codec.Name(), v, err)
		}
		if err := got.Decode(new(int)); err == nil {
			t.Error("a struct was decoded as a number")
		}
		// It may be passed on: its codec is that of the call then, whatever the connection has.
		again, err := rpc.Call[point](bounded(t), p, "point", got)
		if err != nil || !reflect.DeepEqual(again, samplePoint()) {
			t.Errorf("%s, passed on: %+v, %v", codec.Name(), again, err)
		}
		got.Release()
		if err := got.Decode(&v); err == nil {
			t.Error("nothing was decoded as a struct")
		}
	}
	if err := (rpc.Raw{Data: []byte{1}}).Decode(new(int)); err == nil {
		t.Error("it has no codec, and was decoded")
	}
}

// A value of one codec can't go into a stream of another, nor be the result of a call of another.
func TestRawOfAnotherCodec(t *testing.T) {
	s := rawServer()
	rpc.Handle(s, "json", func(context.Context, int) (rpc.Raw, error) { return rpc.Raw{Codec: rpc.JSON, Data: []byte("1")}, nil })
	p := startServing(t, s).dial(t, nil)
	if _, err := rpc.Call[int](bounded(t), p, "json", 1); rpc.CodeOf(err) != rpc.Internal {
		t.Errorf("the result: %v", err)
	}
	if n, err := rpc.Call[int](rpc.WithCodec(bounded(t), rpc.JSON), p, "json", 1); n != 1 || err != nil {
		t.Errorf("the right codec: %d, %v", n, err)
	}
	if _, err := rpc.Call[rpc.Raw](bounded(t), p, "raw", rpc.Raw{Codec: otherCodec{rpc.JSON}, Data: []byte("1")}); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("a codec that the connection has not: %v", err)
	}
	st, err := rpc.Open[rpc.Raw, rpc.Raw](bounded(t), p, "stream")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Send(rpc.Raw{Codec: rpc.JSON, Data: []byte("1")}); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("a stream of another codec: %v", err)
	}
	if err := st.Send(rpc.Raw{Codec: rpc.MessagePack, Data: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	if v, err := st.Recv(); err != nil || !bytes.Equal(v.Data, []byte{1}) {
		t.Errorf("after that: %v, %v", v, err)
	}
}

// Peer.Call puts the result into the memory that a *Raw has, where it is large enough.
func TestRawMemoryIsUsedAgain(t *testing.T) {
	p := startServing(t, rawServer()).dial(t, nil)
	for _, n := range []int{100, 4096, 5000, 300 << 10} {
		in, out := rpc.Raw{Data: bytes.Repeat([]byte{7}, n)}, rpc.Raw{Data: make([]byte, 1, n)}
		memory := &out.Data[0]
		for range 3 {
			in.Data[0]++
			if err := p.Call(bounded(t), "raw", &in, &out); err != nil || !bytes.Equal(out.Data, in.Data) {
				t.Fatal(len(out.Data), err)
			}
			if &out.Data[0] != memory {
				t.Errorf("%d bytes are in other memory", n)
			}
		}
		// In one and the same Raw, growing and shrinking; by value and by pointer.
		for _, size := range []int{n, 2 * n, 10, 4 * n, 0, n} {
			both := rpc.Raw{Data: bytes.Repeat([]byte{byte(size)}, size)}
			want := bytes.Clone(both.Data)
			for range 3 {
				if err := p.Call(bounded(t), "raw", both, &both); err != nil || !bytes.Equal(both.Data, want) {
					t.Fatalf("%d bytes by value became %d, %v", size, len(both.Data), err)
				}
				if err := p.Call(bounded(t), "raw", &both, &both); err != nil || !bytes.Equal(both.Data, want) {
					t.Fatalf("%d bytes became %d, %v", size, len(both.Data), err)
				}
			}
			both.Release()
		}
		var grows rpc.Raw
		for _, size := range []int{n, 2 * n, 10, 4 * n, 0, n} {
			want := bytes.Repeat([]byte{byte(size)}, size)
			if err := p.Call(bounded(t), "raw", rpc.Raw{Data: want}, &grows); err != nil || !bytes.Equal(grows.Data, want) {
				t.Fatalf("%d bytes became %d, %v", size, len(grows.Data), err)
			}
		}
		grows.Release()
	}
}

func TestPeerCall(t *testing.T) {
	p := startServing(t, rawServer()).dial(t, nil)
	in := samplePoint()
	for _, arg := range []any{in, &in} {
		var out point
		if err := p.Call(bounded(t), "point", arg, &out); err != nil || !reflect.DeepEqual(out, in) {
			t.Errorf("%T: %+v, %v", arg, out, err)
		}
	}
	var text wrapperspb.StringValue
	if err := p.Call(bounded(t), "proto", structpb.NewStringValue("hi"), &text); err != nil || text.Value != "hi!" {
		t.Error(text.Value, err)
	}
	var fresh *wrapperspb.StringValue
	if err := p.Call(rpc.WithCodec(bounded(t), rpc.Protobuf), "proto", structpb.NewStringValue("hi"), &fresh); err != nil || fresh.GetValue() != "hi!" {
		t.Error(fresh, err)
	}
	var e *rpc.Error
	if err := p.Call(bounded(t), "nope", in, nil); !errors.As(err, &e) || e.Code != rpc.Unimplemented {
		t.Error(err)
	}
}

// Protobuf messages go by Protobuf, whatever the peer's codec is, and WithCodec says: the argument, the result, or both.
func TestProtoGoesByProtobuf(t *testing.T) {
	s := rawServer()
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		for _, codec := range []rpc.Codec{nil, rpc.JSON, rpc.Protobuf} {
			p := dial(&rpc.DialConfig{Codec: codec})
			for _, ctx := range []context.Context{bounded(t), rpc.WithCodec(bounded(t), rpc.JSON), rpc.WithCodec(bounded(t), rpc.MessagePack)} {
				out, err := rpc.Call[*wrapperspb.StringValue](ctx, p, "proto", structpb.NewStringValue("hi"))
				if err != nil || out.Value != "hi!" {
					t.Errorf("both: %v, %v", out, err)
				}
				var header rpc.Metadata
				raw, err := rpc.Call[rpc.Raw](rpc.WithReply(ctx, &header, nil), p, "raw", wrapperspb.String("x"))
				want, _ := proto.Marshal(wrapperspb.String("x"))
				if err != nil || header["codec"][0] != "protobuf" || raw.Codec.Name() != "protobuf" || !bytes.Equal(raw.Data, want) {
					t.Errorf("the argument: %v, %v, %v", raw, header, err)
				}
				out, err = rpc.Call[*wrapperspb.StringValue](rpc.WithReply(ctx, &header, nil), p, "raw", rpc.Raw{Data: want})
				if err != nil || header["codec"][0] != "protobuf" || out.Value != "x" {
					t.Errorf("the result of a Raw: %v, %v, %v", out, header, err)
				}
				if out, err = rpc.Call[*wrapperspb.StringValue](ctx, p, "result", struct{}{}); err != nil || out.Value != "result" {
					t.Errorf("the result alone: %v, %v", out, err)
				}
				var text wrapperspb.StringValue
				for _, nothing := range []any{struct{}{}, &struct{}{}} {
					if err := p.Call(ctx, "result", nothing, &text); err != nil || text.Value != "result" {
						t.Errorf("the result alone, of Peer.Call with a %T: %v", nothing, err)
					}
				}
				if _, err := rpc.Call[struct{}](ctx, p, "argument", wrapperspb.String("argument")); err != nil {
					t.Errorf("the argument alone: %v", err)
				}
				st, err := rpc.Open[*wrapperspb.StringValue, *structpb.Value](ctx, p, "proto stream")
				if err != nil {
					t.Fatal(err)
				}
				if err := st.Send(structpb.NewStringValue("hi")); err != nil {
					t.Fatal(err)
				}
				if v, err := st.Recv(); err != nil || v.Value != "hi!" {
					t.Errorf("a stream: %v, %v", v, err)
				}
				st.Close()
			}
		}
	})
}

// WithCodec chooses for a call and for a stream, and refuses what the connection has not.
func TestWithCodec(t *testing.T) {
	p := startServing(t, rawServer()).dial(t, &rpc.DialConfig{Codec: otherCodec{rpc.JSON}})
	if _, err := rpc.Call[rpc.Raw](bounded(t), p, "raw", 1); rpc.CodeOf(err) != rpc.Unimplemented {
		t.Errorf("a codec that the server has not: %v", err)
	}
	for _, codec := range []rpc.Codec{rpc.MessagePack, rpc.JSON} {
		ctx := rpc.WithCodec(bounded(t), codec)
		want, err := codec.Append(nil, "hi")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := rpc.Call[rpc.Raw](ctx, p, "raw", "hi")
		if err != nil || raw.Codec.Name() != codec.Name() || !bytes.Equal(raw.Data, want) {
			t.Errorf("%s: %v, %v", codec.Name(), raw, err)
		}
		st, err := rpc.Open[string, string](ctx, p, "stream")
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Send("hi"); err != nil {
			t.Fatal(err)
		}
		if v, err := st.Recv(); v != "hi" || err != nil {
			t.Errorf("%s: %q, %v", codec.Name(), v, err)
		}
		st.Close()
	}
	q := startServing(t, rawServer()).dial(t, nil)
	ctx := rpc.WithCodec(bounded(t), otherCodec{rpc.JSON})
	if _, err := rpc.Call[rpc.Raw](ctx, q, "raw", 1); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("a codec that this side has not: %v", err)
	}
	if _, err := rpc.Open[int, int](ctx, q, "stream"); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("a stream of it: %v", err)
	}
	if _, err := rpc.Call[rpc.Raw](rpc.WithCodec(bounded(t), rpc.Protobuf), q, "raw", 1); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("a number by Protobuf: %v", err)
	}
}
