package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
)

// newDemoServer is the service of `demo`: the methods of `serve`, and beside them the same echo over a bare pipe or
// socket, TCP and HTTP. It ends with its stdin, so with its parent, however that ends.
func newDemoServer() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-server NAME",
		Hidden: true,
		Args:   arguments(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				io.Copy(io.Discard, cmd.InOrStdin())
				cancel()
			}()
			return demoServe(ctx, args[0], cmd.OutOrStdout())
		},
	}
}

func demoServe(ctx context.Context, name string, stdout io.Writer) error {
	ln, err := standpipe.Listen(name, nil)
	if err != nil {
		return err
	}
	defer ln.Close()
	bare, bareAddr, remove, err := bareListen(name + "-bare")
	if err != nil {
		return err
	}
	defer remove()
	defer bare.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer tcp.Close()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer web.Close()
	go echoBytes(bare)
	go echoBytes(tcp)
	go http.Serve(web, http.HandlerFunc(echoHTTP))

	line, err := json.Marshal(demoHello{Bare: bareAddr, TCP: tcp.Addr().String(), HTTP: web.Addr().String()})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "%s\n", line); err != nil {
		return err
	}
	s := newServer()
	rpc.Handle(s, "bytes", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	rpc.Handle(s, "sum-of", sumOf)
	return s.Serve(ctx, ln)
}

// maxEcho is the longest message of echoBytes: the demo's own are far below.
const maxEcho = 16 << 20

// echoBytes answers messages, of four bytes of length and as many bytes as that says, with themselves; those of bulkMark, with their sum.
func echoBytes(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			buf := make([]byte, 4096)
			for {
				message, err := readMessage(conn, &buf)
				if err == errBulk {
					if n := binary.LittleEndian.Uint32(message) &^ bulkMark; sink(conn, message[4:], int(n)) == nil {
						continue
					}
				}
				if err != nil {
					return
				}
				if _, err := conn.Write(message); err != nil {
					return
				}
			}
		}()
	}
}

var (
	errTooLong = errors.New("the message is too long")
	errBulk    = errors.New("the message has bulkMark")
)

// readMessage reads one message, its length included, into buf, which it makes longer where it must. Nothing may follow
// the message. Of one with bulkMark it returns what has come, and errBulk.
func readMessage(r io.Reader, buf *[]byte) ([]byte, error) {
	n, err := io.ReadAtLeast(r, *buf, 4)
	if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(*buf)
	if size&bulkMark != 0 {
		return (*buf)[:n], errBulk
	}
	if size > maxEcho {
		return nil, errTooLong
	}
	whole := int(size) + 4
	if n > whole {
		return nil, errTooLong
	}
	if len(*buf) < whole {
		longer := make([]byte, whole)
		copy(longer, (*buf)[:n])
		*buf = longer
	}
	_, err = io.ReadFull(r, (*buf)[n:whole])
	return (*buf)[:whole], err
}

func echoHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength < 0 || r.ContentLength > maxEcho {
		http.Error(w, errTooLong.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.Write(body)
}
