//go:build linux || darwin || windows

package main

import (
	"errors"
	"fmt"
	"os"
	"sync"

	ipc "github.com/james-barrow/golang-ipc"
)

func init() {
	register(contender{name: "golang-ipc", group: peers, over: "unix", modules: []string{"github.com/james-barrow/golang-ipc"}, noIdle: true,
		note:  "without encryption; a server has one client, and sleeps 2 ms after each message; responses are matched in order; one way by messages",
		serve: golangIPCServe, dial: golangIPCDial})
}

// The types of messages: those below 1 are the library's own.
const (
	golangIPCEcho = iota + 1
	golangIPCSink
	golangIPCSum
)

func golangIPCServe(e *env) error {
	name := fmt.Sprintf("standpipe-bench-%d", os.Getpid())
	s, err := ipc.StartServer(name, &ipc.ServerConfig{Encryption: false, MaxMsgSize: 128 << 20})
	if err != nil {
		return err
	}
	e.ready(name)
	var sum uint64
	for {
		m, err := s.Read()
		if err != nil {
			return err
		}
		switch m.MsgType {
		case golangIPCSink:
			sum += touch(m.Data)
		case golangIPCSum:
			err = s.Write(golangIPCSum, fmt.Append(nil, sum))
		case golangIPCEcho:
			err = s.Write(golangIPCEcho, m.Data)
		}
		if err != nil {
			return err
		}
	}
}

func golangIPCDial(e *env) (client, error) {
	c, err := ipc.StartClient(e.addr, &ipc.ClientConfig{Encryption: false, Timeout: 5})
	if err != nil {
		return nil, err
	}
	for c.StatusCode() != ipc.Connected {
		m, err := c.Read()
		if err != nil {
			return nil, err
		}
		if m.MsgType > 0 {
			return nil, errors.New("a message comes before the connection is there")
		}
	}
	// The library puts it there, whatever TMPDIR says; the server will be killed. On Windows it is a pipe.
	os.Remove("/tmp/" + e.addr + ".sock")
	return &golangIPCClient{c: c, waiting: make(chan *golangIPCCaller, 1<<12)}, nil
}

// golangIPCClient lets callers share a connection for messages that knows nothing of calls: the first response is for who asked
// first. It is what a user of the library would write.
type golangIPCClient struct {
	c *ipc.Client

	send    sync.Mutex // messages go out in the order of waiting
	waiting chan *golangIPCCaller
	reader  sync.Once
}

func (c *golangIPCClient) caller() (caller, error) {
	c.reader.Do(func() { go c.read() })
	return &golangIPCCaller{c, make(chan golangIPCAnswer, 1)}, nil
}

func (c *golangIPCClient) close() error {
	c.c.Close()
	return nil
}

func (c *golangIPCClient) read() {
	for k := range c.waiting {
		for {
			m, err := c.c.Read()
			if err != nil {
				k.answers <- golangIPCAnswer{nil, err}
				break
			}
			if m.MsgType > 0 {
				k.answers <- golangIPCAnswer{m.Data, nil}
				break
			}
		}
	}
}

func (c *golangIPCClient) stream(msg []byte, n int) error {
	for range n {
		if err := c.c.Write(golangIPCSink, msg); err != nil {
			return err
		}
	}
	k, err := c.caller()
	if err != nil {
		return err
	}
	_, err = k.(*golangIPCCaller).ask(golangIPCSum, []byte{0})
	return err
}

type golangIPCCaller struct {
	c       *golangIPCClient
	answers chan golangIPCAnswer
}

type golangIPCAnswer struct {
	data []byte
	err  error
}

func (k *golangIPCCaller) call(req []byte) ([]byte, error) { return k.ask(golangIPCEcho, req) }

func (k *golangIPCCaller) ask(kind int, req []byte) ([]byte, error) {
	k.c.send.Lock()
	k.c.waiting <- k
	err := k.c.c.Write(kind, req)
	k.c.send.Unlock()
	if err != nil {
		return nil, err
	}
	a := <-k.answers
	return a.data, a.err
}
