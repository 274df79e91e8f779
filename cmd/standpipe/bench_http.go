package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

func serveBenchHTTP(ctx context.Context, _ string, ready func(string)) error {
	ln, err := benchListenTCP()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := benchBody(r.Body, r.ContentLength, nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
	mux.HandleFunc("POST /send", func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, min(max(r.ContentLength, 1), bulkChunk))
		var sum uint64
		for at := 0; ; {
			n, err := r.Body.Read(chunk)
			sum += sumLines(chunk[:n], at)
			at += n
			if err != nil {
				break
			}
		}
		w.Header().Set("Sum", strconv.FormatUint(sum, 10))
	})
	s := &http.Server{Handler: mux}
	defer benchClosing(ctx, s)()
	ready("http://" + ln.Addr().String())
	return s.Serve(ln)
}

// benchBody reads a body whose length is known, into buf where that is long enough.
func benchBody(r io.Reader, length int64, buf []byte) ([]byte, error) {
	if length < 0 || length > benchLargest {
		return nil, errTooLong
	}
	buf = benchGrown(buf, int(length))
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	_, err := io.Copy(io.Discard, r) // to the end, so that the connection is used again
	return buf, err
}

type benchHTTP struct {
	client *http.Client
	url    string
	buf    []byte
}

// dialBenchHTTP has a transport of its own: no proxy that the environment may name.
func dialBenchHTTP(_ context.Context, url string) (benchClient, error) {
	return &benchHTTP{client: &http.Client{Transport: &http.Transport{DisableCompression: true}}, url: url}, nil
}

func (c *benchHTTP) post(ctx context.Context, path string, msg []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(msg))
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("status %s", resp.Status)
	}
	return resp, nil
}

func (c *benchHTTP) echo(ctx context.Context, msg []byte) ([]byte, error) {
	resp, err := c.post(ctx, "/echo", msg)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	c.buf, err = benchBody(resp.Body, resp.ContentLength, c.buf)
	return c.buf, err
}

func (c *benchHTTP) send(ctx context.Context, msg []byte, n int) error {
	for range n {
		resp, err := c.post(ctx, "/send", msg)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		sum, malformed := strconv.ParseUint(resp.Header.Get("Sum"), 10, 64)
		resp.Body.Close()
		if err := errors.Join(err, malformed); err != nil {
			return err
		}
		if err := benchSum(sum, msg, 1); err != nil {
			return err
		}
	}
	return nil
}

func (c *benchHTTP) close() error {
	c.client.CloseIdleConnections()
	return nil
}
