package main

import (
	"encoding/binary"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol/pull"
	"go.nanomsg.org/mangos/v3/protocol/push"
	"go.nanomsg.org/mangos/v3/protocol/rep"
	"go.nanomsg.org/mangos/v3/protocol/req"
	_ "go.nanomsg.org/mangos/v3/transport/ipc"
)

func init() {
	register(contender{name: "mangos", group: peers, over: "unix", modules: []string{"go.nanomsg.org/mangos/v3"},
		note:  "nanomsg's protocols: REQ and REP over ipc://, a context for each caller, 8 REP contexts; one way by PUSH and PULL",
		serve: mangosServe,
		dial: func(e *env) (client, error) {
			s, err := mangosSocket(req.NewSocket)
			if err != nil {
				return nil, err
			}
			return &mangosClient{s: s, addr: e.addr}, s.Dial(e.addr)
		}})
}

// mangosSocket makes a socket with room for many messages of any size.
func mangosSocket(newSocket func() (mangos.Socket, error)) (mangos.Socket, error) {
	s, err := newSocket()
	if err != nil {
		return nil, err
	}
	for option, value := range map[string]int{mangos.OptionMaxRecvSize: 0, mangos.OptionReadQLen: 128, mangos.OptionWriteQLen: 128} {
		s.SetOption(option, value) // a socket of a protocol without that queue refuses
	}
	return s, nil
}

// mangosPull is where the messages go that go one way.
func mangosPull(addr string) string { return addr + "-pull" }

// mangosCount is the length of the requests that say how many messages to take by PULL; those of calls are longer.
const mangosCount = 8

func mangosServe(e *env) error {
	answers, err := mangosSocket(rep.NewSocket)
	if err != nil {
		return err
	}
	messages, err := mangosSocket(pull.NewSocket)
	if err != nil {
		return err
	}
	for range 8 {
		c, err := answers.OpenContext()
		if err != nil {
			return err
		}
		go func() {
			for mangosAnswer(c, messages) == nil {
			}
		}()
	}
	addr := "ipc://" + e.socket()
	if err := answers.Listen(addr); err != nil {
		return err
	}
	if err := messages.Listen(mangosPull(addr)); err != nil {
		return err
	}
	e.ready(addr)
	return nil
}

// mangosAnswer answers one request.
func mangosAnswer(c mangos.Context, messages mangos.Socket) error {
	m, err := c.RecvMsg()
	if err != nil {
		return err
	}
	if len(m.Body) == mangosCount {
		var sum uint64
		for range binary.LittleEndian.Uint64(m.Body) {
			d, err := messages.RecvMsg()
			if err != nil {
				return err
			}
			sum += touch(d.Body)
			d.Free()
		}
		binary.LittleEndian.PutUint64(m.Body, sum)
	}
	return c.SendMsg(m)
}

type mangosClient struct {
	s    mangos.Socket
	addr string
	push mangos.Socket // for stream
}

func (c *mangosClient) close() error {
	if c.push != nil {
		c.push.Close()
	}
	return c.s.Close()
}

func (c *mangosClient) caller() (caller, error) {
	x, err := c.s.OpenContext()
	if err != nil {
		return nil, err
	}
	return &mangosCaller{c: x}, nil
}

func (c *mangosClient) stream(msg []byte, n int) error {
	if c.push == nil {
		s, err := mangosSocket(push.NewSocket)
		if err != nil {
			return err
		}
		if err := s.Dial(mangosPull(c.addr)); err != nil {
			return err
		}
		c.push = s
	}
	k, err := c.caller()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := k.call(binary.LittleEndian.AppendUint64(nil, uint64(n)))
		done <- err
	}()
	for range n {
		if err := c.push.Send(msg); err != nil {
			return err
		}
	}
	return <-done
}

type mangosCaller struct {
	c    mangos.Context
	last *mangos.Message
}

func (k *mangosCaller) close() error { return k.c.Close() }

func (k *mangosCaller) call(req []byte) ([]byte, error) {
	if err := k.c.Send(req); err != nil {
		return nil, err
	}
	if k.last != nil {
		k.last.Free()
	}
	var err error
	if k.last, err = k.c.RecvMsg(); err != nil {
		return nil, err
	}
	return k.last.Body, nil
}
