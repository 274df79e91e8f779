package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

func init() {
	for _, network := range []string{"tcp", "unix"} {
		register(contender{name: "http-" + network, group: peers, over: network, shared: "net/http's pool, a connection each",
			note: "net/http, HTTP/1.1 with keep-alive, POST of the bytes as they are (JSON with base64 costs more); one way by POST with an empty response, " +
				"one in flight",
			serve: func(e *env) error { return httpServe(e, network) },
			dial:  func(e *env) (client, error) { return httpDial(e, network), nil }})
	}
}

const httpBinary = "application/octet-stream"

func httpServe(e *env, network string) error {
	ln, err := listen(e, network)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", httpEcho)
	mux.HandleFunc("POST /sink", httpSink)
	e.ready(ln.Addr().String())
	return http.Serve(ln, mux)
}

func httpEcho(w http.ResponseWriter, r *http.Request) {
	b, err := httpBody(r.Body, r.ContentLength)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header()["Content-Type"] = []string{httpBinary}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.Write(b)
}

func httpSink(w http.ResponseWriter, r *http.Request) {
	var sum uint64
	for b := make([]byte, 256<<10); ; {
		n, err := r.Body.Read(b)
		sum += touch(b[:n])
		if err != nil {
			w.Header().Set("Sum", strconv.FormatUint(sum, 10))
			return
		}
	}
}

// httpBody reads a body whose length is known at once.
func httpBody(r io.Reader, length int64) ([]byte, error) {
	if length < 0 {
		return io.ReadAll(r)
	}
	b := make([]byte, length)
	_, err := io.ReadFull(r, b)
	return b, err
}

func httpDial(e *env, network string) *httpClient {
	const pool = 1 << 10
	t := &http.Transport{MaxIdleConns: pool, MaxIdleConnsPerHost: pool, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, e.addr)
		}}
	return &httpClient{http.Client{Transport: t}}
}

type httpClient struct{ h http.Client }

func (c *httpClient) caller() (caller, error) { return httpCaller{c}, nil }

func (c *httpClient) close() error {
	c.h.CloseIdleConnections()
	return nil
}

func (c *httpClient) stream(msg []byte, n int) error {
	for range n {
		if _, err := c.post("/sink", msg); err != nil {
			return err
		}
	}
	return nil
}

func (c *httpClient) post(path string, b []byte) ([]byte, error) {
	r, err := c.h.Post("http://bench"+path, httpBinary, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", r.Status)
	}
	return httpBody(r.Body, r.ContentLength)
}

type httpCaller struct{ c *httpClient }

func (k httpCaller) call(req []byte) ([]byte, error) { return k.c.post("/echo", req) }
