package main

import (
	"context"
	"encoding/binary"
	"net"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/msg"
)

// The messages alone: frames, limits and the way over to the ring, without calls. What standpipe-raw takes beyond it is calls.

func init() {
	register(contender{name: "standpipe-msg", group: ours, over: "ring", parts: partLatency + partBulk, shared: "a connection each", max: standpipeMost,
		note: "msg.Channel alone, messages without calls, read where they lie",
		serve: func(e *env) error {
			ln, err := standpipe.Listen(e.socket(), nil)
			if err != nil {
				return err
			}
			e.ready(e.socket())
			return accept(ln, func(c net.Conn) {
				ch := newMessages(c)
				defer ch.Close()
				ch.serve()
			})
		},
		dial: func(e *env) (client, error) { return messagesClient{e.addr}, nil }})
}

// messages is a Channel whose message is valid until the next one.
type messages struct {
	*msg.Channel
	memory []byte
}

func newMessages(c net.Conn) *messages {
	return &messages{Channel: msg.New(c, &msg.Config{MaxMessage: standpipeMost})}
}

func (ch *messages) recv() ([]byte, error) {
	if ch.memory != nil {
		msg.Free(ch.memory)
	}
	var m msg.Message
	var err error
	ch.memory, err = ch.RecvInto(&m)
	return m.Data, err
}

func (ch *messages) send(b []byte) error { return ch.SendData(context.Background(), b) }

// serve answers a connection whose first message says how many messages come one way; none: each is sent back.
func (ch *messages) serve() {
	b, err := ch.recv()
	if err != nil || len(b) != 8 {
		return
	}
	count := binary.LittleEndian.Uint64(b)
	for count == 0 {
		if b, err = ch.recv(); err != nil || ch.send(b) != nil {
			return
		}
	}
	var sum uint64
	for range count {
		if b, err = ch.recv(); err != nil {
			return
		}
		sum += touch(b)
	}
	ch.send(binary.LittleEndian.AppendUint64(nil, sum))
	ch.recv() // the end
}

type messagesClient struct{ addr string }

func (c messagesClient) connect(count int) (*messages, error) {
	conn, err := standpipe.Dial(context.Background(), c.addr, nil)
	if err != nil {
		return nil, err
	}
	ch := newMessages(conn)
	if _, err := ch.Greet(); err != nil { // it says how large messages may be
		return nil, err
	}
	return ch, ch.send(binary.LittleEndian.AppendUint64(nil, uint64(count)))
}

func (c messagesClient) close() error { return nil }

func (c messagesClient) caller() (caller, error) {
	ch, err := c.connect(0)
	return messagesCaller{ch}, err
}

func (c messagesClient) stream(b []byte, n int) error {
	ch, err := c.connect(n)
	if err != nil {
		return err
	}
	defer ch.Close()
	answer := make(chan error, 1)
	go func() { // from the start: who receives hears that the peer has a ring, too
		_, err := ch.recv()
		answer <- err
	}()
	for range n {
		if err := ch.send(b); err != nil {
			return err
		}
	}
	return <-answer
}

type messagesCaller struct{ ch *messages }

func (k messagesCaller) call(req []byte) ([]byte, error) {
	if err := k.ch.send(req); err != nil {
		return nil, err
	}
	return k.ch.recv()
}

func (k messagesCaller) close() error { return k.ch.Close() }
