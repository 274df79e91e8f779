package rpc

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/standpipe/standpipe/msg"
)

// Every file of spec/vectors/wire, against a listener of ours. spec/wire.md says what the fates are.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("../spec/vectors/wire/*.txt")
	if err != nil || len(files) < 80 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			head, body := readVector(t, f)
			runVector(t, head, body)
		})
	}
}

func readVector(t testing.TB, path string) (head map[string]string, body []byte) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head = map[string]string{}
	inHead := true
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		switch {
		case line == "":
			inHead = false
		case inHead:
			k, v, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("header line %q", line)
			}
			head[k] = v
		case line[0] != '#':
			b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			body = append(body, b...)
		}
	}
	return head, body
}

// vectorServer is the listener of the vectors.
func vectorServer() *Server {
	s := NewServer(&ServerConfig{Log: slog.New(slog.DiscardHandler)})
	Handle(s, "echo", func(_ context.Context, v any) (any, error) { return v, nil })
	Handle(s, "known", func(_ context.Context, v struct {
		A string `json:"a"`
	}) (string, error) {
		return v.A, nil
	})
	Handle(s, "hang", func(ctx context.Context, v any) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	Handle(s, "meta", func(ctx context.Context, v any) (string, error) {
		md := Metadata{"k": MetadataFrom(ctx)["k"]}
		return strings.Join(md["k"], ","), errors.Join(SetHeader(ctx, md), SetTrailer(ctx, md))
	})
	HandleStream(s, "each", func(_ context.Context, st *Stream[any, any]) error {
		for v, err := range st.All() {
			if err != nil {
				return err
			}
			if err := st.Send(v); err != nil {
				return err
			}
		}
		return nil
	})
	HandleStream(s, "mute", func(ctx context.Context, st *Stream[any, any]) error {
		<-ctx.Done()
		return ctx.Err()
	})
	return s
}

// raw is the dialer's end of a connection by which bytes are sent and frames received.
type raw struct {
	t      *testing.T
	c      net.Conn
	frames chan frame // closed at the end
	abort  string     // valid then
	err    error
}

func runVector(t *testing.T, head map[string]string, body []byte) {
	a, b := net.Pipe()
	p := newPeer(b, vectorServer().options(), false)
	defer p.Close()
	r := &raw{t: t, c: a, frames: make(chan frame, 16)}
	go r.receive()
	a.SetWriteDeadline(time.Now().Add(5 * time.Second))
	if _, err := a.Write(body); err != nil && head["expect"] != "dies" {
		t.Fatal(err)
	}
	if head["then"] == "close" {
		a.Close()
	}
	switch expect := head["expect"]; expect {
	case "dies", "ends":
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			t.Fatal("the connection lives")
		}
		var pe *msg.ProtocolError
		died := errors.As(p.err, &pe) || errors.Is(p.err, io.ErrUnexpectedEOF)
		if died != (expect == "dies") {
			t.Fatalf("the connection ended by %v", p.err)
		}
		for range r.frames {
		}
		if died && head["then"] == "" && !pe.Remote && r.abort != pe.Text && len(pe.Text) < 1000 {
			t.Errorf("the abort frame said %q, not %q", r.abort, pe.Text)
		}
		return
	case "answers":
		if v := string(r.expect(1, OK).value); v != "\xa2hi" && v != `"hi"` {
			t.Fatalf("echo answered %q", v)
		}
	case "streams":
		if f := r.expect(1, OK); f.typ != typeData || string(f.value) != "\xa2hi" {
			t.Fatalf("the stream sent %+v", f)
		}
		if f := r.expect(1, OK); f.typ != typeClose {
			t.Fatalf("the stream sent %+v, and not its close", f)
		}
	case "pongs":
		if f := r.expect(0, OK); f.typ != typePong {
			t.Fatalf("a ping was answered with %+v", f)
		}
	case "lives":
	default:
		r.expect(1, codeNamed(strings.TrimPrefix(expect, "fails ")))
	}
	// And the connection is as good as before, where the vector's hello lets one call.
	<-p.greeted
	if len(p.in.names) > 0 {
		call := openFrame(4095, flagValue, 0, "echo", 0, nil)
		call = append(call, 0xa2, 'o', 'k')
		if _, err := a.Write(append([]byte{byte(len(call)), 0, 0, 0, 1, 0, 0, 0}, call...)); err != nil {
			t.Fatal(err)
		}
		r.expect(4095, OK)
	}
}

func codeNamed(name string) Code {
	for i, n := range codeNames {
		if n == name {
			return Code(i)
		}
	}
	panic("no code is called " + name)
}

func (r *raw) expect(stream uint32, code Code) (f frame) {
	r.t.Helper()
	select {
	case f, ok := <-r.frames:
		if !ok || f.stream != stream || f.code != code {
			r.t.Fatalf("got %v, stream %d, %v; want stream %d, %v (%v, %q)", ok, f.stream, f.code, stream, code, r.err, r.abort)
		}
		if code == OK {
			return f
		}
		if e, err := parseError(f.code, f.value); err != nil || e.Message == "" {
			r.t.Fatalf("an error without a message: %+v, %v", e, err)
		}
		return f
	case <-time.After(5 * time.Second):
		r.t.Fatalf("no answer for stream %d", stream)
	}
	return f
}

// receive reads the hello and the frames of the other side. It knows nothing of package msg.
func (r *raw) receive() {
	defer close(r.frames)
	in := bufio.NewReader(r.c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			r.err = err
			return
		}
		if line == "\n" {
			break
		}
	}
	for {
		var h [8]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			r.err = err
			return
		}
		b := make([]byte, int(h[0])|int(h[1])<<8|int(h[2])<<16|int(h[3])<<24)
		if _, err := io.ReadFull(in, b); err != nil {
			r.err = err
			return
		}
		if h[4] == 2 {
			r.abort = string(b)
			continue
		}
		f, err := parseFrame(b)
		if err != nil {
			r.err = err
			return
		}
		r.frames <- f
	}
}
