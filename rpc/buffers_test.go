package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/standpipe/standpipe/msg"
	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type picture struct {
	Name  string                 `json:"name"`
	Pixel msg.Buffer             `json:"pixel"`
	More  []*msg.Buffer          `json:"more"`
	Map   map[string]picturePart `json:"map"`
	None  msg.Buffer             `json:"none"`
}

type picturePart struct{ Part msg.Buffer }

func filled(t testing.TB, p *rpc.Peer, n int, c byte) msg.Buffer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := p.NewBuffer(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	copy(b.Bytes(), bytes.Repeat([]byte{c}, n))
	return b
}

func isFilled(b msg.Buffer, n int, c byte) bool {
	return b.Len() == n && bytes.Count(b.Bytes(), []byte{c}) == n
}

// Buffers travel in the fields of a value, both ways, by each codec that has values; what a handler does not keep ends with it.
func TestBuffersInValues(t *testing.T) {
	const n = 100_000
	var mu sync.Mutex
	var seen []msg.Buffer
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "invert", func(ctx context.Context, in picture) (picture, error) {
		mu.Lock()
		seen = append(seen, in.Pixel, *in.More[0], *in.More[1], in.Map["a"].Part)
		mu.Unlock()
		if !isFilled(in.Pixel, n, 1) || !isFilled(*in.More[0], 3, 2) || !isFilled(*in.More[1], 0, 3) || !isFilled(in.Map["a"].Part, n/2, 4) {
			return picture{}, rpc.Errorf(rpc.DataLoss, "wrong bytes")
		}
		if in.None.Valid() || in.None.Len() != 0 {
			return picture{}, rpc.Errorf(rpc.DataLoss, "something came from nothing")
		}
		rpc.Keep(ctx, in.Map["a"].Part)
		out, err := rpc.PeerFrom(ctx).NewBuffer(ctx, n)
		if err != nil {
			return picture{}, err
		}
		for i, c := range in.Pixel.Bytes() {
			out.Bytes()[i] = ^c
		}
		return picture{Name: in.Name, Pixel: out, More: []*msg.Buffer{in.More[0]}}, nil
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		for _, codec := range []rpc.Codec{rpc.MessagePack, rpc.JSON} {
			p := dial(&rpc.DialConfig{Codec: codec})
			for range 5 {
				more, empty := filled(t, p, 3, 2), filled(t, p, 0, 3)
				in := picture{Name: "p", Pixel: filled(t, p, n, 1), More: []*msg.Buffer{&more, &empty}, Map: map[string]picturePart{"a": {filled(t, p, n/2, 4)}}}
				shares := in.Pixel.Shared()
				if want := strings.HasSuffix(t.Name(), "endpoint") && runtime.GOOS != "freebsd"; shares != want {
					t.Fatalf("the memory is shared: %v, not %v", shares, want)
				}
				out, err := rpc.Call[picture](bounded(t), p, "invert", in)
				if err != nil {
					t.Fatal(codec.Name(), err)
				}
				if out.Name != "p" || !isFilled(out.Pixel, n, 254) || len(out.More) != 1 || !isFilled(*out.More[0], 3, 2) || out.Pixel.Shared() != shares {
					t.Errorf("%s: %+v", codec.Name(), out)
				}
				if in.Pixel.Valid() || more.Valid() {
					t.Error("what was sent is still here")
				}
				out.Pixel.Release()
				out.More[0].Release()
				mu.Lock()
				for i, b := range seen {
					mu.Unlock()
					if i == 3 {
						if !isFilled(b, n/2, 4) {
							t.Error("what was kept is gone")
						}
						b.Release()
					} else {
						until(t, "release with the handler", func() bool { return !b.Valid() })
					}
					mu.Lock()
				}
				seen = nil
				mu.Unlock()
			}
		}
	})
}

// What can't be sent is told, changes nothing, and the connection goes on.
func TestBuffersRefused(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxShared: 1 << 20})
	rpc.Handle(s, "len", func(_ context.Context, in struct{ A, B msg.Buffer }) (int, error) {
		return in.A.Len() + in.B.Len(), nil
	})
	rpc.Handle(s, "raw", func(_ context.Context, in any) (int, error) { return 0, nil })
	rpc.Handle(s, "twice", func(ctx context.Context, in msg.Buffer) (struct{ A, B msg.Buffer }, error) {
		return struct{ A, B msg.Buffer }{in, in}, nil
	})
	rpc.Handle(s, "gone", func(ctx context.Context, in msg.Buffer) (msg.Buffer, error) {
		in.Release()
		return in, nil
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		big := func() msg.Buffer { return filled(t, p, 600_000, 1) }
		b := big()
		type two struct{ A, B msg.Buffer }
		if _, err := rpc.Call[int](bounded(t), p, "len", two{b, b}); rpc.CodeOf(err) != rpc.InvalidArgument || !strings.Contains(err.Error(), "twice") {
			t.Error("twice:", err)
		}
		if _, err := rpc.Call[int](bounded(t), p, "raw", any(map[string]any{"b": b})); rpc.CodeOf(err) != rpc.InvalidArgument || !strings.Contains(err.Error(), "interface") && !strings.Contains(err.Error(), "no part") {
			t.Error("in an interface:", err)
		}
		if !isFilled(b, 600_000, 1) {
			t.Error("what was refused is gone")
		}
		other := dial(&rpc.DialConfig{MaxShared: 8 << 20})
		foreign := msg.Buffer{}
		{ // a Buffer of a connection that takes more
			s2 := rpc.NewServer(nil)
			foreign = filled(t, startServing(t, s2).dial(t, nil), 2<<20, 1)
			defer foreign.Release()
		}
		if _, err := rpc.Call[int](bounded(t), other, "len", two{A: foreign}); rpc.CodeOf(err) != rpc.ResourceExhausted || !foreign.Valid() {
			t.Error("too large:", err)
		}
		if _, err := p.NewBuffer(bounded(t), 2<<20); !errors.Is(err, msg.ErrTooLarge) {
			t.Error("NewBuffer:", err)
		}
		if n, err := rpc.Call[int](bounded(t), p, "len", two{A: b}); n != 600_000 || err != nil {
			t.Error(n, err)
		}
		if _, err := rpc.Call[int](bounded(t), p, "len", two{A: b}); rpc.CodeOf(err) != rpc.InvalidArgument || !errors.Is(err, msg.ErrReleased) {
			t.Error("again:", err)
		}
		for method, want := range map[string]string{"twice": "twice", "gone": "any more"} {
			if _, err := rpc.Call[msg.Buffer](bounded(t), p, method, filled(t, p, 10, 1)); rpc.CodeOf(err) != rpc.Internal || !strings.Contains(err.Error(), want) {
				t.Error(method, err)
			}
		}
		// References that mean nothing, and one that is twice there.
		for what, value := range map[string]struct {
			codec rpc.Codec
			text  string
		}{
			"place":   {rpc.MessagePack, "\x81\xa1A\xd4\x01\x05"},
			"length":  {rpc.MessagePack, "\x81\xa1A\xd5\x01\x00\x00"},
			"double":  {rpc.MessagePack, "\x82\xa1A\xd4\x01\x00\xa1B\xd4\x01\x00"},
			"json":    {rpc.JSON, `{"A":{"$buffer":5}}`},
			"minus":   {rpc.JSON, `{"A":{"$buffer":-1}}`},
			"more":    {rpc.JSON, `{"A":{"$buffer":0,"x":1}}`},
			"no text": {rpc.JSON, `{"A":"x"}`},
		} {
			in := rpc.Parcel[rpc.Raw]{Value: rpc.Raw{Codec: value.codec, Data: []byte(value.text)}, Buffers: []msg.Buffer{filled(t, p, 10, 1)}}
			if _, err := rpc.Call[int](bounded(t), p, "len", in); rpc.CodeOf(err) != rpc.InvalidArgument {
				t.Error(what, err)
			}
		}
		if n, err := rpc.Call[int](bounded(t), p, "len", two{big(), filled(t, p, 5, 1)}); n != 600_005 || err != nil {
			t.Error("after all that:", n, err)
		}
	})
}

// Values that can't have fields of that type have Buffers beside them.
func TestParcel(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "proto", func(_ context.Context, in rpc.Parcel[*wrapperspb.StringValue]) (rpc.Parcel[*wrapperspb.StringValue], error) {
		if len(in.Buffers) != 2 || !isFilled(in.Buffers[1], 50_000, 7) {
			return in, rpc.Errorf(rpc.DataLoss, "%d buffers", len(in.Buffers))
		}
		return rpc.Parcel[*wrapperspb.StringValue]{Value: wrapperspb.String(in.Value.Value + "!"), Buffers: in.Buffers[1:]}, nil
	})
	rpc.Handle(s, "plain", func(_ context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) { return in, nil })
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		in := rpc.Parcel[*wrapperspb.StringValue]{Value: wrapperspb.String("v"), Buffers: []msg.Buffer{filled(t, p, 1, 1), filled(t, p, 50_000, 7)}}
		out, err := rpc.Call[rpc.Parcel[*wrapperspb.StringValue]](bounded(t), p, "proto", in)
		if err != nil || out.Value.GetValue() != "v!" || len(out.Buffers) != 1 || !isFilled(out.Buffers[0], 50_000, 7) {
			t.Fatalf("%+v, %v", out, err)
		}
		out.Buffers[0].Release()
		in.Buffers = []msg.Buffer{filled(t, p, 9, 9)}
		if out, err := rpc.Call[*wrapperspb.StringValue](bounded(t), p, "plain", in); err != nil || out.GetValue() != "v" {
			t.Errorf("%v, %v", out, err)
		}
		if d, err := rpc.Describe(bounded(t), p); err != nil || len(d.Methods) != 2 || !bytes.Equal(d.Methods[0].In, d.Methods[1].In) {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

// A stream carries them in order, one that is read slowly holds its sender back, and what is left ends with the handler.
func TestBufferStream(t *testing.T) {
	type frame struct {
		N     int        `json:"n"`
		Image msg.Buffer `json:"image"`
	}
	const count, size = 200, 300_000
	var mu sync.Mutex
	var left msg.Buffer
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet, MaxShared: 4 << 20})
	rpc.HandleStream(s, "sum", func(ctx context.Context, st *rpc.Stream[frame, frame]) error {
		for f, err := range st.All() {
			if err != nil {
				return err
			}
			if !isFilled(f.Image, size, byte(f.N)) {
				return rpc.Errorf(rpc.DataLoss, "frame %d", f.N)
			}
			if f.N == count-1 {
				mu.Lock()
				left = f.Image
				mu.Unlock()
				continue
			}
			if f.N%2 == 0 {
				err = st.Send(f) // it goes back
			} else {
				f.Image.Release()
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		st, err := rpc.Open[frame, frame](bounded(t), p, "sum")
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			for i := range count {
				b, err := p.NewBuffer(context.Background(), size)
				if err != nil {
					sent <- err
					return
				}
				copy(b.Bytes(), bytes.Repeat([]byte{byte(i)}, size))
				if err := st.Send(frame{i, b}); err != nil {
					sent <- err
					return
				}
			}
			sent <- st.CloseSend()
		}()
		for i := 0; i < count; i += 2 {
			f, err := st.Recv()
			if err != nil || f.N != i || !isFilled(f.Image, size, byte(i)) {
				t.Fatalf("%d: %d, %v", i, f.N, err)
			}
			f.Image.Release()
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Error(err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		mu.Lock()
		b := left
		mu.Unlock()
		until(t, "release with the handler", func() bool { return !b.Valid() })
	})
}

// A peer that releases nothing: NewBuffer says who has the memory, small things go on, and a release lets the next one in.
func TestNewBufferExhausted(t *testing.T) {
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	var mu sync.Mutex
	var kept []msg.Buffer
	rpc.Handle(s, "keep", func(ctx context.Context, in msg.Buffer) (int, error) {
		rpc.Keep(ctx, in)
		mu.Lock()
		kept = append(kept, in)
		mu.Unlock()
		return in.Len(), nil
	})
	rpc.Handle(s, "ping", func(_ context.Context, in int) (int, error) { return in, nil })
	p := startServing(t, s).dial(t, &rpc.DialConfig{MaxShared: 1 << 20})
	for range 3 {
		if _, err := rpc.Call[int](bounded(t), p, "keep", filled(t, p, 256<<10, 1)); err != nil {
			t.Fatal(err)
		}
	}
	mine := filled(t, p, 256<<10, 1)
	if !mine.Shared() {
		mine.Release()
		t.Skip("memory can't be shared here: nothing is limited")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := p.NewBuffer(ctx, 256<<10)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "786432 in 3 buffers are with the peer") ||
		!strings.Contains(err.Error(), "262144 in 1 buffers are here") {
		t.Errorf("%v", err)
	}
	if n, err := rpc.Call[int](bounded(t), p, "ping", 5); n != 5 || err != nil {
		t.Error(n, err)
	}
	got := make(chan error, 1)
	go func() {
		b, err := p.NewBuffer(bounded(t), 256<<10)
		b.Release()
		got <- err
	}()
	time.Sleep(10 * time.Millisecond)
	mu.Lock()
	kept[0].Release()
	mu.Unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
	mine.Release()
	mu.Lock()
	defer mu.Unlock()
	for _, b := range kept {
		b.Release()
	}
}

// What a handler returns may lie in the Buffer that it was given, which goes back when the result has been written, not before.
func TestResultInBuffer(t *testing.T) {
	type image struct{ Data msg.Buffer }
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "typed", func(_ context.Context, in image) ([]byte, error) { return in.Data.Bytes(), nil })
	rpc.Handle(s, "raw", func(_ context.Context, in image) (rpc.Raw, error) {
		return rpc.Raw{Codec: rpc.MessagePack, Data: append([]byte{0xc6, 0, 0x10, 0, 0}, in.Data.Bytes()...)}, nil
	})
	rpc.Handle(s, "same", func(_ context.Context, in image) (image, error) { return in, nil })
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(nil)
		for i := range 20 {
			const n = 1 << 20
			for _, method := range []string{"typed", "raw"} {
				b, err := rpc.Call[[]byte](t.Context(), p, method, image{filled(t, p, n, byte(i))})
				if err != nil || bytes.Count(b, []byte{byte(i)}) != n {
					t.Fatal(method, len(b), err)
				}
			}
			out, err := rpc.Call[image](t.Context(), p, "same", image{filled(t, p, n, byte(i))})
			if err != nil || !isFilled(out.Data, n, byte(i)) {
				t.Fatal(out.Data.Len(), err)
			}
			out.Data.Release()
		}
	})
}

// Memory that the peer has given back is used again at once, also while nobody here receives: what was used last is still in the processor's caches.
func TestNewBufferReuses(t *testing.T) {
	const rounds, size = 60, msg.EagerRelease
	var released atomic.Int64
	s := rpc.NewServer(&rpc.ServerConfig{Log: quiet})
	rpc.Handle(s, "nothing", func(_ context.Context, in int) (int, error) { return in, nil })
	rpc.HandleStream(s, "sink", func(_ context.Context, st *rpc.Stream[msg.Buffer, int]) error {
		for b, err := range st.All() {
			if err != nil {
				return err
			}
			b.Release()
			released.Add(1)
		}
		return nil
	})
	serve(t, s, func(t *testing.T, dial func(cfg *rpc.DialConfig) *rpc.Peer) {
		p := dial(&rpc.DialConfig{Ring: msg.RingOn})
		ctx := bounded(t)
		st, err := rpc.Open[int, msg.Buffer](ctx, p, "sink")
		if err != nil {
			t.Fatal(err)
		}
		send := func() *byte {
			before := released.Load()
			b := filled(t, p, size, 1)
			at := unsafe.SliceData(b.Bytes())
			if err := st.Send(b); err != nil {
				t.Fatal(err)
			}
			until(t, "release", func() bool { return released.Load() > before })
			return at
		}
		b, err := p.NewBuffer(ctx, size)
		shared := b.Shared()
		b.Release()
		if err != nil || !shared {
			t.Skip("no memory is shared here", err)
		}
		same := 0
		for range rounds {
			for i := range 5 { // from now on nobody reads, for a while
				if _, err := rpc.Call[int](ctx, p, "nothing", i); err != nil {
					t.Fatal(err)
				}
			}
			if first, second := send(), send(); first == second {
				same++
			}
		}
		if same < rounds/2 { // the reader may have its turn back
			t.Errorf("%d of %d", same, rounds)
		}
	})
}
