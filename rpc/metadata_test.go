package rpc_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const binary4 = "\x00\xff\n\x80"

// metaServer answers with what the caller's metadata was, in header and trailer.
func metaServer() *rpc.Server {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	reply := func(ctx context.Context) error {
		md := rpc.MetadataFrom(ctx)
		if md == nil {
			md = rpc.Metadata{"none": {""}}
		}
		return errors.Join(
			rpc.SetHeader(ctx, md), rpc.SetHeader(ctx, rpc.Metadata{"more": {"1"}}), rpc.SetHeader(ctx, rpc.Metadata{"more": {"2", binary4}}),
			rpc.SetTrailer(ctx, md), rpc.SetTrailer(ctx, rpc.Metadata{"last": {"x"}}),
		)
	}
	rpc.Handle(s, "ok", func(ctx context.Context, in int) (int, error) { return in, reply(ctx) })
	rpc.Handle(s, "proto", func(ctx context.Context, in *structpb.Value) (*wrapperspb.StringValue, error) {
		return wrapperspb.String(in.GetStringValue()), reply(ctx)
	})
	rpc.Handle(s, "fail", func(ctx context.Context, in int) (int, error) {
		if err := reply(ctx); err != nil {
			return 0, err
		}
		return 0, rpc.Errorf(rpc.DataLoss, "as asked")
	})
	rpc.Handle(s, "panic", func(ctx context.Context, in int) (int, error) { reply(ctx); panic("as asked") })
	rpc.Handle(s, "unencodable", func(ctx context.Context, in int) (func(), error) { return nil, reply(ctx) })
	rpc.Handle(s, "large", func(ctx context.Context, in int) ([]byte, error) { return make([]byte, 64<<10), reply(ctx) })
	rpc.HandleStream(s, "stream", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		if err := reply(ctx); err != nil {
			return err
		}
		n, err := st.Recv()
		if err != nil {
			return err
		}
		if n < 0 {
			return rpc.Errorf(rpc.DataLoss, "as asked")
		}
		for i := range n {
			if err := st.Send(i); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

var sent = rpc.Metadata{"a": {"2", "1", "2", ""}, "b-in.x_9": {binary4}, "traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}

func plus(md, more rpc.Metadata) rpc.Metadata {
	all := rpc.Metadata{}
	for _, m := range []rpc.Metadata{md, more} {
		for k, v := range m {
			all[k] = append(all[k], v...)
		}
	}
	return all
}

func checkReply(t *testing.T, what string, header, trailer, want rpc.Metadata) {
	t.Helper()
	if w := plus(want, rpc.Metadata{"more": {"1", "2", binary4}}); !reflect.DeepEqual(header, w) {
		t.Errorf("%s: the header is %v, not %v", what, header, w)
	}
	if w := plus(want, rpc.Metadata{"last": {"x"}}); !reflect.DeepEqual(trailer, w) {
		t.Errorf("%s: the trailer is %v, not %v", what, trailer, w)
	}
}

func TestMetadataUnary(t *testing.T) {
	serve(t, metaServer(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		for _, codec := range []rpc.Codec{nil, rpc.JSON} {
			p := dial(&rpc.DialConfig{Codec: codec, MaxMessage: 64 << 10})
			for method, code := range map[string]rpc.Code{
				"ok": rpc.OK, "fail": rpc.DataLoss, "panic": rpc.Internal, "unencodable": rpc.Internal,
			} {
				var header, trailer rpc.Metadata
				ctx := rpc.WithReply(rpc.WithMetadata(bounded(t), sent), &header, &trailer)
				if _, err := rpc.Call[int](ctx, p, method, 1); rpc.CodeOf(err) != code {
					t.Errorf("%s: %v", method, err)
				}
				checkReply(t, method, header, trailer, sent)
			}
			var header, trailer rpc.Metadata
			for _, ctx := range []context.Context{
				rpc.WithReply(bounded(t), &header, nil), rpc.WithReply(bounded(t), nil, &trailer), rpc.WithReply(bounded(t), nil, nil),
			} {
				if n, err := rpc.Call[int](ctx, p, "ok", 5); n != 5 || err != nil {
					t.Error(n, err)
				}
			}
			checkReply(t, "one of the two", header, trailer, rpc.Metadata{"none": {""}})
		}
		p := dial(&rpc.DialConfig{Codec: rpc.Protobuf})
		var header, trailer rpc.Metadata
		ctx := rpc.WithReply(rpc.WithMetadata(bounded(t), sent), &header, &trailer)
		got, err := rpc.Call[*wrapperspb.StringValue](ctx, p, "proto", structpb.NewStringValue("hi"))
		if err != nil || got.Value != "hi" {
			t.Error(got, err)
		}
		checkReply(t, "protobuf", header, trailer, sent)
	})
}

// Values are added to those of the context; the context before, and the caller's map, stay what they were.
func TestMetadataAccumulates(t *testing.T) {
	s := rpc.NewServer(nil)
	rpc.Handle(s, "meta", func(ctx context.Context, _ struct{}) (rpc.Metadata, error) {
		md := rpc.MetadataFrom(ctx)
		clear(md) // a copy
		return rpc.MetadataFrom(ctx), nil
	})
	p := startServing(t, s).dial(t, nil)
	check := func(ctx context.Context, want rpc.Metadata) {
		t.Helper()
		got, err := rpc.Call[rpc.Metadata](ctx, p, "meta", struct{}{})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v, %v, not %v", got, err, want)
		}
	}
	ctx := bounded(t)
	check(ctx, nil)
	md := rpc.Metadata{"k": make([]string, 1, 10)}
	md["k"][0] = "1"
	one := rpc.WithMetadata(ctx, md)
	md["k"][0] = "changed"
	check(one, rpc.Metadata{"k": {"1"}})
	two := rpc.WithMetadata(one, rpc.Metadata{"k": {"2", "1"}, "l": {"x"}})
	other := rpc.WithMetadata(one, rpc.Metadata{"k": {"3"}})
	last := rpc.WithMetadata(rpc.WithCodec(two, rpc.JSON), rpc.Metadata{"k": {"4"}, "empty": {}})
	check(one, rpc.Metadata{"k": {"1"}})
	check(two, rpc.Metadata{"k": {"1", "2", "1"}, "l": {"x"}})
	check(other, rpc.Metadata{"k": {"1", "3"}})
	check(last, rpc.Metadata{"k": {"1", "2", "1", "4"}, "l": {"x"}})
	check(rpc.WithMetadata(ctx, rpc.Metadata{"empty": nil}), nil)
	check(rpc.WithMetadata(ctx, nil), nil)
}

// What a caller sent, and what a handler answers, belong to that one call: not to those that its handler makes.
func TestMetadataDoesNotLeak(t *testing.T) {
	back := rpc.NewServer(nil)
	rpc.Handle(back, "inner", func(ctx context.Context, _ struct{}) (rpc.Metadata, error) {
		return rpc.MetadataFrom(ctx), errors.Join(rpc.SetHeader(ctx, rpc.Metadata{"inner": {"h"}}), rpc.SetTrailer(ctx, rpc.Metadata{"inner": {"t"}}))
	})
	s := rpc.NewServer(nil)
	rpc.Handle(s, "outer", func(ctx context.Context, own bool) (rpc.Metadata, error) {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		if own {
			child = rpc.WithMetadata(child, rpc.Metadata{"own": rpc.MetadataFrom(child)["secret"]})
		}
		return rpc.Call[rpc.Metadata](child, rpc.PeerFrom(ctx), "inner", struct{}{})
	})
	p := startServing(t, s).dial(t, &rpc.DialConfig{Server: back})
	for _, own := range []bool{false, true} {
		var want, header, trailer rpc.Metadata
		if own {
			want = rpc.Metadata{"own": {"s"}}
		}
		ctx := rpc.WithReply(rpc.WithMetadata(bounded(t), rpc.Metadata{"secret": {"s"}}), &header, &trailer)
		got, err := rpc.Call[rpc.Metadata](ctx, p, "outer", own)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("the inner call had %v, %v", got, err)
		}
		if header != nil || trailer != nil {
			t.Errorf("the outer call was answered with %v and %v", header, trailer)
		}
	}
}

func TestMetadataStream(t *testing.T) {
	serve(t, metaServer(), func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		for _, codec := range []rpc.Codec{nil, rpc.JSON} {
			p := dial(&rpc.DialConfig{Codec: codec})
			for _, n := range []int{3, 0, -1} { // with values, without, and a handler that fails
				st, err := rpc.Open[int, int](rpc.WithMetadata(bounded(t), sent), p, "stream")
				if err != nil {
					t.Fatal(err)
				}
				if md := st.Trailer(); md != nil {
					t.Errorf("the trailer of a stream that runs: %v", md)
				}
				if err := st.Send(n); err != nil {
					t.Fatal(err)
				}
				for i := range max(n, 0) {
					if v, err := st.Recv(); v != i || err != nil {
						t.Fatal(v, err)
					}
				}
				want := error(io.EOF)
				if _, err := st.Recv(); n < 0 && rpc.CodeOf(err) != rpc.DataLoss || n >= 0 && err != want {
					t.Errorf("the stream of %d ended with %v", n, err)
				}
				header, err := st.Header()
				if err != nil {
					t.Errorf("Header: %v", err)
				}
				checkReply(t, "stream", header, st.Trailer(), sent)
			}
		}
	})
}

// SendHeader leaves at once: the opener has it while the handler waits, and has sent no value.
func TestSendHeader(t *testing.T) {
	s := rpc.NewServer(nil)
	late := make(chan error, 10)
	rpc.HandleStream(s, "stream", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		if err := errors.Join(rpc.SetHeader(ctx, rpc.Metadata{"k": {"1"}}), rpc.SendHeader(ctx, rpc.Metadata{"k": {"2"}})); err != nil {
			return err
		}
		if _, err := st.Recv(); err != nil { // the opener has read the header
			return err
		}
		late <- rpc.SetHeader(ctx, rpc.Metadata{"late": {"1"}})
		late <- rpc.SendHeader(ctx, rpc.Metadata{"late": {"2"}})
		return errors.Join(st.Send(1), rpc.SetTrailer(ctx, rpc.Metadata{"t": {"1"}}))
	})
	rpc.HandleStream(s, "value", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		if err := st.Send(1); err != nil {
			return err
		}
		late <- rpc.SetHeader(ctx, rpc.Metadata{"late": {"1"}})
		late <- rpc.SendHeader(ctx, rpc.Metadata{"late": {"2"}})
		return nil
	})
	rpc.Handle(s, "unary", func(ctx context.Context, _ int) (int, error) {
		return 1, errors.Join(rpc.SendHeader(ctx, rpc.Metadata{"k": {"1"}}), rpc.SetHeader(ctx, rpc.Metadata{"k": {"2"}}))
	})
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		st, err := rpc.Open[int, int](bounded(t), p, "stream")
		if err != nil {
			t.Fatal(err)
		}
		md, err := st.Header()
		if want := (rpc.Metadata{"k": {"1", "2"}}); err != nil || !reflect.DeepEqual(md, want) {
			t.Fatalf("the header is %v, %v", md, err)
		}
		if err := st.Send(1); err != nil {
			t.Fatal(err)
		}
		if v, err := st.Recv(); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		if _, err := st.Recv(); err != io.EOF || !reflect.DeepEqual(st.Trailer(), rpc.Metadata{"t": {"1"}}) {
			t.Errorf("the end: %v, %v", err, st.Trailer())
		}
		if again, err := st.Header(); err != nil || !reflect.DeepEqual(again, md) {
			t.Errorf("the header, behind the end: %v, %v", again, err)
		}

		if st, err = rpc.Open[int, int](bounded(t), p, "value"); err != nil {
			t.Fatal(err)
		}
		if md, err := st.Header(); md != nil || err != nil {
			t.Errorf("a header that there is not: %v, %v", md, err)
		}
		for range 4 {
			if err := <-late; err == nil {
				t.Error("a header was set that had left")
			}
		}
		st.Close()

		var header rpc.Metadata
		if _, err := rpc.Call[int](rpc.WithReply(bounded(t), &header, nil), p, "unary", 1); err != nil || len(header["k"]) != 2 {
			t.Errorf("the header of a unary call: %v, %v", header, err)
		}
	})
}

// Who waits for a header is let go by the end of the stream, whatever it is; the handler's side has none.
func TestHeaderEnds(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	opened := make(chan error, 1)
	rpc.HandleStream(s, "hang", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		_, err := st.Header()
		opened <- err
		<-ctx.Done()
		return ctx.Err()
	})
	rpc.HandleStream(s, "fail", func(context.Context, *rpc.Stream[int, int]) error { return rpc.Errorf(rpc.DataLoss, "gone") })
	sv := startServing(t, s)
	for name, c := range map[string]struct {
		do   func(cancel context.CancelFunc, st *rpc.Stream[int, int], p *rpc.Peer)
		code rpc.Code
	}{
		"context":    {func(cancel context.CancelFunc, _ *rpc.Stream[int, int], _ *rpc.Peer) { cancel() }, rpc.Canceled},
		"close":      {func(_ context.CancelFunc, st *rpc.Stream[int, int], _ *rpc.Peer) { st.Close() }, rpc.Canceled},
		"connection": {func(_ context.CancelFunc, _ *rpc.Stream[int, int], p *rpc.Peer) { p.Close() }, rpc.Unavailable},
	} {
		p := sv.dial(t, nil)
		ctx, cancel := context.WithCancel(bounded(t))
		st, err := rpc.Open[int, int](ctx, p, "hang")
		if err != nil {
			t.Fatal(err)
		}
		if err := <-opened; err == nil {
			t.Error("a handler got a header")
		}
		failed := make(chan error, 1)
		go func() { _, err := st.Header(); failed <- err }()
		c.do(cancel, st, p)
		if err := <-failed; rpc.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	st, err := rpc.Open[int, int](bounded(t), sv.dial(t, nil), "fail")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Header(); rpc.CodeOf(err) != rpc.DataLoss {
		t.Errorf("a stream that fails without a header: %v", err)
	}
}

// What can't travel fails where it is given, and nothing else.
func TestMetadataThatCannotTravel(t *testing.T) {
	bad := map[string]rpc.Metadata{
		"values": {"k": make([]string, 65)},
		"bytes":  {"k": {strings.Repeat("v", 16<<10)}},
		"value":  {"k": {strings.Repeat("v", 70000)}},
		"empty":  {"": {"v"}},
		"upper":  {"Key": {"v"}},
		"space":  {"a b": {"v"}},
		"long":   {strings.Repeat("k", 65): {"v"}},
		"novals": {"\xff": nil},
	}
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "set", func(ctx context.Context, name string) (int, error) {
		if err := errors.Join(rpc.SetHeader(ctx, rpc.Metadata{"k": {"h"}}), rpc.SetTrailer(ctx, rpc.Metadata{"k": {"t"}})); err != nil {
			return 0, err
		}
		if md, ok := bad[name]; ok && (rpc.SetHeader(ctx, md) == nil || rpc.SetTrailer(ctx, md) == nil || rpc.SendHeader(ctx, md) == nil) {
			return 0, rpc.Errorf(rpc.Internal, "%s was taken", name)
		}
		return len(rpc.MetadataFrom(ctx)), nil
	})
	rpc.HandleStream(s, "stream", func(context.Context, *rpc.Stream[int, int]) error { return nil })
	p := startServing(t, s).dial(t, nil)
	for name, md := range bad {
		ctx := rpc.WithMetadata(bounded(t), md)
		if _, err := rpc.Call[int](ctx, p, "set", ""); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := rpc.Open[int, int](ctx, p, "stream"); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("%s: Open: %v", name, err)
		}
		var header, trailer rpc.Metadata
		if _, err := rpc.Call[int](rpc.WithReply(bounded(t), &header, &trailer), p, "set", name); err != nil {
			t.Error(err)
		}
		if !reflect.DeepEqual(header, rpc.Metadata{"k": {"h"}}) || !reflect.DeepEqual(trailer, rpc.Metadata{"k": {"t"}}) {
			t.Errorf("%s: what was set before is now %v and %v", name, header, trailer)
		}
	}
	// As much as there may be: 64 values, and 16 KiB with their keys.
	full := rpc.Metadata{"k": make([]string, 63)}
	full["last"] = []string{strings.Repeat("v", 16<<10-63*4-3-4)}
	if n, err := rpc.Call[int](rpc.WithMetadata(bounded(t), full), p, "set", ""); n != 2 || err != nil {
		t.Errorf("all that may be: %d, %v", n, err)
	}
	for _, md := range []rpc.Metadata{{"k": {""}}, {"last": {"x"}}} {
		if _, err := rpc.Call[int](rpc.WithMetadata(rpc.WithMetadata(bounded(t), full), md), p, "set", ""); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("one too many: %v", err)
		}
	}
}

// Without a handler there is nothing to set, and when it has returned, no more.
func TestMetadataOutsideOfHandlers(t *testing.T) {
	s := rpc.NewServer(nil)
	kept := make(chan context.Context, 2)
	rpc.Handle(s, "keep", func(ctx context.Context, _ int) (int, error) { kept <- ctx; return 0, nil })
	p := startServing(t, s).dial(t, nil)
	if _, err := rpc.Call[int](bounded(t), p, "keep", 1); err != nil {
		t.Fatal(err)
	}
	for what, ctx := range map[string]context.Context{"no handler's": context.Background(), "over": <-kept} {
		for i, set := range []func(context.Context, rpc.Metadata) error{rpc.SetHeader, rpc.SetTrailer, rpc.SendHeader} {
			if err := set(ctx, rpc.Metadata{"k": {"v"}}); err == nil {
				t.Errorf("%s: %d was taken", what, i)
			}
		}
	}
	if rpc.MetadataFrom(context.Background()) != nil || rpc.PeerFrom(context.Background()) != nil {
		t.Error("a context that is no handler's has metadata or a peer")
	}
}

// The trailer is there when Recv has told of the end, and not before, though it has come.
func TestTrailerComesLast(t *testing.T) {
	p, w := wired(t, nil)
	st, err := rpc.Open[int, int](bounded(t), p, "stream")
	if err != nil {
		t.Fatal(err)
	}
	f := w.next(wireOpen)
	w.send(wireFrame{f.stream, wireData, wireValue, 0, []byte{5}})
	w.send(wireFrame{f.stream, wireClose, wireMeta, 0, []byte{5, 0, 1, 'k', 1, 0, 'v'}})
	go func() {
		f := w.next(wireOpen)
		w.send(wireFrame{f.stream, wireClose, wireValue, 0, []byte{1}})
	}()
	if _, err := rpc.Call[int](bounded(t), p, "m", 1); err != nil { // its answer is behind the trailer
		t.Fatal(err)
	}
	if v, err := st.Recv(); v != 5 || err != nil {
		t.Fatal(v, err)
	}
	if md := st.Trailer(); md != nil {
		t.Errorf("the trailer before the end: %v", md)
	}
	if _, err := st.Recv(); err != io.EOF || len(st.Trailer()["k"]) != 1 {
		t.Errorf("the end: %v, %v", err, st.Trailer())
	}
}

// A handler whose result the caller can't take has failed, and what it set beside the result arrives all the same.
func TestMetadataOfResultTooLarge(t *testing.T) {
	p := startServing(t, metaServer()).dial(t, &rpc.DialConfig{MaxMessage: 64 << 10})
	var header, trailer rpc.Metadata
	ctx := rpc.WithReply(rpc.WithMetadata(bounded(t), sent), &header, &trailer)
	if _, err := rpc.Call[[]byte](ctx, p, "large", 1); rpc.CodeOf(err) != rpc.ResourceExhausted {
		t.Fatal(err)
	}
	checkReply(t, "large", header, trailer, sent)
}

// A header that is sent empty is there.
func TestEmptyHeaderIsSent(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.HandleStream(s, "empty", func(ctx context.Context, st *rpc.Stream[int, int]) error {
		if err := rpc.SendHeader(ctx, nil); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	serve(t, s, func(t *testing.T, dial func(*rpc.DialConfig) *rpc.Peer) {
		st, err := rpc.Open[int, int](bounded(t), dial(nil), "empty")
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if md, err := st.Header(); len(md) != 0 || err != nil {
			t.Fatal(md, err)
		}
	})
}
