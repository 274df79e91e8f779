package main

import (
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func init() {
	register(contender{name: "nats", group: peers, over: "tcp", modules: []string{"github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go"}, max: natsMost,
		note: "request and reply; the server runs in the server's process, where the responder is connected to it in memory; " +
			"one way by Publish, with a request every 64 MiB",
		serve: natsServe,
		dial: func(e *env) (client, error) {
			c, err := nats.Connect(e.addr)
			if err != nil {
				return nil, err
			}
			return natsClient{c}, nil
		}})
}

const (
	natsMost = 8 << 20 // more is not advised, and 64 MiB not possible
	natsWait = 10 * time.Second
	natsEcho = "echo"
	natsSink = "sink"
)

func natsServe(e *env) error {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPayload: natsMost,
		MaxPending: 1 << 30, MaxConn: 1 << 16})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(natsWait) {
		return errors.New("the NATS server does not get ready")
	}
	c, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return err
	}
	if _, err := c.Subscribe(natsEcho, func(m *nats.Msg) { m.Respond(m.Data) }); err != nil {
		return err
	}
	var sum uint64
	sub, err := c.Subscribe(natsSink, func(m *nats.Msg) {
		sum += touch(m.Data)
		if m.Reply != "" {
			m.Respond(nil)
		}
	})
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return err
	}
	e.ready(s.ClientURL())
	return nil
}

type natsClient struct{ c *nats.Conn }

func (c natsClient) caller() (caller, error) { return natsCaller(c), nil }

func (c natsClient) close() error {
	c.c.Close()
	return nil
}

// stream waits for an answer now and then, as NATS drops what is too slow.
func (c natsClient) stream(msg []byte, n int) error {
	window := max(1, 64<<20/len(msg))
	for i := 1; i <= n; i++ {
		if i%window != 0 && i != n {
			if err := c.c.Publish(natsSink, msg); err != nil {
				return err
			}
		} else if _, err := c.c.Request(natsSink, msg, natsWait); err != nil {
			return err
		}
	}
	return nil
}

type natsCaller struct{ c *nats.Conn }

func (k natsCaller) call(req []byte) ([]byte, error) {
	m, err := k.c.Request(natsEcho, req, natsWait)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}
