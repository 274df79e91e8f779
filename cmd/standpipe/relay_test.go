package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
	"github.com/standpipe/standpipe/rpc"
)

// relayHere runs the command in this process until the test ends, and returns where it listens. What it said is in errs then.
func relayHere(t *testing.T, args ...string) (ready string, stop func() (code int, errs string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, printed := io.Pipe()
	var errs lockedText
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, args, strings.NewReader(""), printed, &errs)
		printed.Close()
	}()
	line := make([]byte, 512)
	n, err := out.Read(line)
	if err != nil {
		cancel()
		t.Fatalf("%q did not begin: code %d, %s", args, <-code, errs.String())
	}
	go io.Copy(io.Discard, out)
	var once sync.Once
	var result int
	stop = func() (int, string) {
		once.Do(func() {
			cancel()
			select {
			case result = <-code:
			case <-time.After(20 * time.Second):
				t.Errorf("%q did not end", args)
			}
		})
		return result, errs.String()
	}
	t.Cleanup(func() { stop() })
	return strings.Fields(string(line[:n]))[1], stop
}

// lockedText is what several have written.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// pairHere connects two pairs of ends through a relay's pair, and returns the outer two.
func pairHere(t testing.TB, p *pair) (a, b *standpipe.Conn, ended <-chan error) {
	a, inA, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	inB, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.a = &side{end: inA, local: inA, whole: !halfCloses, place: place{text: "A"}}
	p.b = &side{end: inB, local: inB, whole: !halfCloses, place: place{text: "B"}}
	if p.linger == 0 {
		p.linger = 10 * time.Second
	}
	done := make(chan error, 1)
	go func() { done <- p.run(context.Background()) }()
	return a, b, done
}

// What passes a relay, or a trace, keeps what a connection promises.
func TestRelayConn(t *testing.T) {
	for _, how := range []string{"relay", "trace"} {
		t.Run(how, func(t *testing.T) {
			pipetest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				p := &pair{}
				var rec *recorder
				if how == "trace" {
					rec = newRecorder("x", io.Discard, newViewer(true, &printer{w: io.Discard, verbose: true, bytes: -1}), io.Discard)
					p.tap = &connTap{r: rec, n: 1}
				}
				a, b, ended := pairHere(t, p)
				return a, b, func() {
					a.Close()
					b.Close()
					<-ended
					if rec != nil && rec.end() != nil {
						t.Error("the trace failed")
					}
				}, nil
			}, relayDiffers...)
		})
	}
}

// Large amounts go both ways at once, whole, and both ends see both ends, over any two kinds of places.
func TestRelayBytes(t *testing.T) {
	there, back := pattern(3<<20, 3), pattern(2<<20, 5)
	for _, kinds := range []string{"name name", "name tcp", "tcp name", "tcp tcp"} {
		t.Run(kinds, func(t *testing.T) {
			from, to, _ := strings.Cut(kinds, " ")
			ln, target := listenHere(t, to)
			at := "tcp::0"
			if from == "name" {
				at = pipetest.Name(t)
			}
			ready, stop := relayHere(t, "relay", at, target)
			served := make(chan error, 1)
			go func() {
				c, err := ln.Accept()
				if err != nil {
					served <- err
					return
				}
				served <- exchange(c, back, there)
			}()
			c := dialHere(t, from, ready)
			if err := exchange(c, there, back); err != nil {
				t.Error("the client:", err)
			}
			if err := <-served; err != nil {
				t.Error("the server:", err)
			}
			if code, errs := stop(); code != 0 {
				t.Errorf("code %d: %s", code, errs)
			}
		})
	}
}

// exchange sends, and wants to get, and the end behind it where ends can be told.
func exchange(c net.Conn, send, want []byte) error {
	defer c.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(send)
		if half, ok := c.(interface{ CloseWrite() error }); ok && err == nil && halfCloses {
			err = half.CloseWrite()
		}
		sent <- err
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("not what was sent: %v", err)
	}
	if halfCloses {
		if n, err := c.Read(got); n != 0 || err != io.EOF {
			return fmt.Errorf("behind the last byte: %d bytes, %v", n, err)
		}
	}
	return <-sent
}

func listenHere(t *testing.T, kind string) (ln net.Listener, target string) {
	t.Helper()
	var err error
	if kind == "tcp" {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
			target = "tcp:" + ln.Addr().String()
		}
	} else {
		target = pipetest.Name(t)
		ln, err = standpipe.Listen(target, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln, target
}

func dialHere(t *testing.T, kind, at string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	if kind == "tcp" {
		c, err = net.Dial("tcp", strings.TrimPrefix(at, "tcp:"))
	} else {
		c, err = standpipe.Dial(t.Context(), at, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A server that answers and closes while its client still sends: the client gets the answer, over TCP too.
func TestRelayEarlyAnswer(t *testing.T) {
	ln, target := listenHere(t, "name")
	ready, _ := relayHere(t, "relay", "--linger", "5s", "tcp::0", target)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		io.ReadFull(c, make([]byte, 1000))
		c.Write([]byte("too much"))
		c.Close()
	}()
	c := dialHere(t, "tcp", ready)
	defer c.Close()
	go c.Write(make([]byte, 8<<20))
	got, err := io.ReadAll(c)
	if string(got) != "too much" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// A client that reads nothing holds up nobody else.
func TestRelayManyClients(t *testing.T) {
	name := serveHere(t, newServer())
	ready, _ := relayHere(t, "relay", pipetest.Name(t), name)
	stuck := dialHere(t, "name", ready)
	defer stuck.Close()
	var clients sync.WaitGroup
	for i := range 100 {
		clients.Go(func() {
			p, err := rpc.Dial(t.Context(), ready, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			for j := range 50 {
				got, err := rpc.Call[int](t.Context(), p, "echo", i*1000+j)
				if err != nil || got != i*1000+j {
					t.Errorf("client %d, call %d: %d, %v", i, j, got, err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// Above --clients others wait, and come in when one has gone.
func TestRelayLimit(t *testing.T) {
	name := serveHere(t, newServer())
	ready, _ := relayHere(t, "relay", "--clients", "1", pipetest.Name(t), name)
	first, err := rpc.Dial(t.Context(), ready, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.Call[int](t.Context(), first, "echo", 1); err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		p, err := rpc.Dial(t.Context(), ready, nil)
		if err == nil {
			_, err = rpc.Call[int](t.Context(), p, "echo", 2)
			p.Close()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Error("the second client came in beside the first:", err)
	case <-time.After(200 * time.Millisecond):
	}
	first.Close()
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// Whatever a relay's connections do, it ends when it is to, and leaves no goroutine.
func TestRelayEnds(t *testing.T) {
	ln, target := listenHere(t, "name")
	go func() {
		for {
			if _, err := ln.Accept(); err != nil { // nobody reads, nobody answers
				return
			}
		}
	}()
	before := runtime.NumGoroutine()
	for range 5 {
		ready, stop := relayHere(t, "relay", pipetest.Name(t), target)
		silent, full := dialHere(t, "name", ready), dialHere(t, "name", ready)
		full.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		full.Write(make([]byte, 32<<20))
		if code, errs := stop(); code != 0 {
			t.Errorf("code %d: %s", code, errs)
		}
		silent.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a client was not told the end:", err)
		}
		silent.Close()
		full.Close()
	}
	for i := 0; runtime.NumGoroutine() > before+5 && i < 200; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before+5 {
		t.Errorf("%d goroutines before, %d after", before, n)
	}
}

// A pipe that can't be half closed, or a program's stdin, ends a connection when the other way is silent.
func TestRelayLinger(t *testing.T) {
	silent, never := io.Pipe()
	defer never.Close()
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	p := &pair{linger: 20 * time.Millisecond}
	p.a = &side{end: newStdio(silent, &out), deaf: true, place: place{text: "stdio"}}
	p.b = &side{end: a, local: a, whole: !halfCloses, place: place{text: "B"}}
	b.Write([]byte("last words"))
	b.Close()
	if err := p.run(t.Context()); err != nil || out.String() != "last words" {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestRelayTLS(t *testing.T) {
	dir := t.TempDir()
	server, client, other := makeCert(t, dir, "server"), makeCert(t, dir, "client"), makeCert(t, dir, "other")
	name := serveHere(t, newServer())
	ready, _ := relayHere(t, "relay", "--cert", server+".pem", "--key", server+".key", "--client-ca", client+".pem", "tls:localhost:0", name)
	dial := func(cert string, more ...string) error {
		args := append([]string{"relay", "--ca", server + ".pem"}, more...)
		if cert != "" {
			args = append(args, "--cert", cert+".pem", "--key", cert+".key")
		}
		at, stop := relayHere(t, append(args, pipetest.Name(t), ready)...)
		defer stop()
		p, err := rpc.Dial(t.Context(), at, nil)
		if err != nil {
			return err
		}
		defer p.Close()
		got, err := rpc.Call[float64](t.Context(), p, "sum", []float64{1, 2})
		if err == nil && got != 3 {
			err = fmt.Errorf("got %v", got)
		}
		return err
	}
	if err := dial(client); err != nil {
		t.Error(err)
	}
	if dial("") == nil || dial(other) == nil {
		t.Error("a client without the certificate came in")
	}
	if dial(client, "--server-name", "elsewhere") == nil {
		t.Error("a server with another name was taken")
	}
	// The end of one way passes TLS, too.
	c, err := tls.Dial("tcp", strings.TrimPrefix(ready, "tls:"), clientConfig(t, client, server))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.CloseWrite()
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
}

func clientConfig(t *testing.T, cert, roots string) *tls.Config {
	o := &relayOptions{cert: cert + ".pem", key: cert + ".key", roots: roots + ".pem", serverName: "localhost"}
	c, err := o.tls(false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// makeCert makes a certificate that signs itself, and returns its files' name without the end.
func makeCert(t *testing.T, dir, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	for end, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: cert}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path+end, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestRelayPlaces(t *testing.T) {
	for _, test := range []struct {
		text    string
		listens bool
		want    place
	}{
		{"calc", true, place{text: "calc", address: "calc", listens: true}},
		{"connect:calc", true, place{text: "calc", address: "calc"}},
		{"listen:calc", false, place{text: "calc", address: "calc", listens: true}},
		{"tcp::7000", true, place{text: "tcp::7000", kind: kindTCP, address: "localhost:7000", listens: true}},
		{"tls:[::1]:7000", false, place{text: "tls:[::1]:7000", kind: kindTLS, address: "[::1]:7000"}},
		{"-", true, place{text: "stdio", kind: kindStdio}},
		{`exec:a "b c" '' d\e`, true, place{text: `exec:a "b c" '' d\e`, kind: kindExec, args: []string{"a", "b c", "", `d\e`}}},
	} {
		if got, err := parsePlace(test.text, test.listens); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v", test.text, got, err)
		}
	}
	for _, text := range []string{"", "tcp:", "tcp:host", "tcp:host:", "exec:", "exec: ", "listen:exec:cat", "udp:x:1"} {
		if got, err := parsePlace(text, true); err == nil || func() bool { code, _ := verdict(err); return code != exitUsage }() {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for address, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false} {
		if got, err := loopback(address); got != want || err != nil {
			t.Errorf("%s: loopback is %v, %v", address, got, err)
		}
	}
}

// An offer of shared memory is hidden wherever a piece ends, and nothing else is touched.
func TestRelayHider(t *testing.T) {
	const hello = "standpipe 1\nmax-message: 65536\nshare: memfd\nshares: x\nring: 1\n\nshare: memfd\n"
	const hidden = "standpipe 1\nmax-message: 65536\nshare: -----\nshares: x\nring: 1\n\nshare: memfd\n"
	for step := 1; step <= len(hello); step++ {
		var h hider
		var got []byte
		for piece := range slices.Chunk([]byte(hello), step) {
			h.hide(piece)
			got = append(got, piece...)
		}
		if string(got) != hidden {
			t.Fatalf("in pieces of %d: %q", step, got)
		}
	}
	for _, text := range []string{"GET / HTTP/1.1\nshare: memfd\n", "standpipe", "stand\nshare: x\n", "", "standpipe 1\nmy-share: memfd\n\n"} {
		b := []byte(text)
		if (&hider{}).hide(b) || string(b) != text {
			t.Errorf("%q became %q", text, b)
		}
	}
}
