package rpc

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// seeds are the bodies of the vectors, hellos included.
func seeds(tb testing.TB) (list [][]byte) {
	files, err := filepath.Glob("../spec/vectors/wire/*.txt")
	if err != nil || len(files) < 80 {
		tb.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, f := range files {
		if _, body := readVector(tb, f); len(body) < 70000 {
			list = append(list, body)
		}
	}
	return list
}

const liveHello = "standpipe 1\nmax-message: 16777216\nmax-buffers: 1073741824\ncodecs: msgpack json\nmax-calls: 1024\nwindow: 65536\n\n"

// FuzzLive throws bytes at a live listener, behind a good hello: the connection dies, or is as good as before.
func FuzzLive(f *testing.F) {
	for _, b := range seeds(f) {
		if i := bytes.Index(b, []byte("\n\n")); i > 0 {
			f.Add(b[i+2:])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { throw(t, append([]byte(liveHello), b...)) })
}

// The same with seeds that are mutated at random, but the same each time.
func TestMutatedDialer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	list := seeds(t)
	n := 20000
	if testing.Short() {
		n = 2000
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		throw(t, mutate(rnd, list))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d bytes are still held", grown)
	}
}

// mutate is one seed, or two, with some bytes changed, cut, doubled or exchanged.
func mutate(rnd *rand.Rand, list [][]byte) []byte {
	b := bytes.Clone(list[rnd.IntN(len(list))])
	if rnd.IntN(3) == 0 { // another one's frames behind it
		other := list[rnd.IntN(len(list))]
		if i := bytes.Index(other, []byte("\n\n")); i > 0 {
			b = append(b, other[i+2:]...)
		}
	}
	start := max(bytes.Index(b, []byte("\n\n")), 0) // hellos have tests of their own
	for range rnd.IntN(4) {
		if len(b) <= start+2 {
			break
		}
		i := start + rnd.IntN(len(b)-start)
		switch rnd.IntN(5) {
		case 0:
			b[i] ^= 1 << rnd.IntN(8)
		case 1:
			b[i] = byte(rnd.Uint32())
		case 2:
			b = b[:i]
		case 3:
			j := min(i+rnd.IntN(40), len(b))
			b = append(b[:j:j], b[i:]...)
		case 4:
			b = append(b[:i:i], b[min(i+rnd.IntN(20), len(b)):]...)
		}
	}
	return b
}

// throw sends b to a listener, and looks whether that hangs, lives on without living, or leaves anything behind.
func throw(t *testing.T, b []byte) {
	a, c := net.Pipe()
	p := newPeer(c, vectorServer().options(), false)
	got := make(chan bool)
	go func() {
		io.Copy(io.Discard, a)
		close(got)
	}()
	a.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err := a.Write(b)
	if err == nil && len(b) > 0 { // it has taken all of it: then it still takes a frame that is to be ignored, or has died of the last byte
		_, err = a.Write([]byte{0, 0, 0, 0, 200, 0, 0, 0})
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("the listener does not read any more: % x", b)
	}
	a.Close()
	for _, wait := range []<-chan struct{}{p.ended, p.in.whenQuiet()} {
		select {
		case <-wait:
		case <-time.After(10 * time.Second):
			t.Fatalf("the listener does not end: % x", b)
		}
	}
	<-got
	if n := p.held.Load(); n < 0 {
		t.Fatalf("%d bytes are held", n)
	}
}

// A hostile listener, at whose dialer calls and streams wait: all of them end when the connection does.
func TestMutatedListener(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	n := 8000
	if testing.Short() {
		n = 800
	}
	for range n {
		a, c := net.Pipe()
		p := NewPeer(c, &DialConfig{Log: slog.New(slog.DiscardHandler), Server: vectorServer()})
		go io.Copy(io.Discard, a)
		ended := make(chan error, 3)
		ctx := context.Background()
		go func() {
			_, err := Call[string](ctx, p, "echo", "hi")
			ended <- err
		}()
		go func() {
			st, err := Open[string, string](ctx, p, "each")
			for err == nil {
				_, err = st.Recv()
			}
			ended <- err
		}()
		go func() {
			st, err := Open[string, []byte](ctx, p, "mute")
			for err == nil {
				err = st.Send(make([]byte, 1000))
			}
			ended <- err
		}()
		a.SetWriteDeadline(time.Now().Add(10 * time.Second))
		b := append([]byte(liveHello), hostileAnswers(rnd)...)
		if _, err := a.Write(b); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatalf("the dialer does not read any more: % x", b)
			}
		}
		a.Close()
		for range 3 {
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatalf("somebody still waits: % x", b)
			}
		}
		p.Close()
		<-p.Done()
		<-p.in.whenQuiet()
	}
}

// hostileAnswers is frames that a listener might send, some of which fit the calls that are open.
func hostileAnswers(rnd *rand.Rand) (b []byte) {
	for range rnd.IntN(8) {
		stream := uint32([]int{1, 3, 5, 2, 4, 7, 0, 9999}[rnd.IntN(8)])
		var f []byte
		switch rnd.IntN(7) {
		case 0:
			f = append(appendClose(nil, stream, rnd.IntN(2) == 0, nil, nil), 0xa2, 'h', 'i')
		case 1:
			f = appendError(nil, stream, Errorf(Code(rnd.IntN(18)), "no"), Metadata{"k": {"v"}}, nil, 1<<16)
		case 2:
			f = append(appendFrame(nil, stream, typeData, uint8(rnd.IntN(64)), 0), 0xa2, 'h', 'i')
		case 3:
			f = appendCredit(nil, stream, rnd.Uint32()>>rnd.IntN(32))
		case 4:
			f = appendFrame(nil, stream, uint8(rnd.IntN(9)), uint8(rnd.IntN(4)), 0)
		case 5:
			f = append(openFrame(stream, flagValue, 0, "echo", 0, nil), 0xa2, 'h', 'i')
		case 6:
			f = openFrame(stream, flagStream, 0, "each", uint64(rnd.IntN(1000000)), Metadata{"k": {"v"}})
		}
		if rnd.IntN(6) == 0 && len(f) > 0 {
			f[rnd.IntN(len(f))] ^= 1 << rnd.IntN(8)
		}
		n := len(f)
		b = append(append(b, byte(n), byte(n>>8), byte(n>>16), 0, 1, 0, 0, 0), f...)
	}
	return b
}
