package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cloudwego/shmipc-go"
)

// As its examples have it: a session with memfd, a stream for each caller, which is kept, the synchronous interface, and messages that are
// reserved in the shared memory and read there. A message is in one slice of that memory, or it would be copied once more by its receiver.

func init() {
	shmipc.SetLogLevel(5) // nothing
	register(contender{name: "shmipc-go", group: peers, over: "memory", modules: []string{"github.com/cloudwego/shmipc-go"}, max: shmipcSlice, idleMost: 100,
		note: "one session with memfd, a stream for each caller, the synchronous interface; 384 MiB, in slices that fit the messages, which are read in place; " +
			"one way with as many on their way as fit",
		serve: shmipcServe,
		dial: func(e *env) (client, error) {
			c := shmipc.DefaultSessionManagerConfig()
			c.Config = shmipcConfig()
			c.Network, c.Address = "unix", e.addr
			m, err := shmipc.NewSessionManager(c)
			if err != nil {
				return nil, err
			}
			return shmipcClient{m}, nil
		}})
}

// A message begins with its length and its kind.
const shmipcHead = 8

const (
	shmipcEcho = iota // the answer is the same
	shmipcSink        // there is no answer
	shmipcAsk         // the same, and the answer is the sum of the messages until now
)

const (
	shmipcSlice = 64 << 20 // the largest message: what one slice holds
	shmipcRoom  = 4096     // more than a slice and a message have as their heads
)

var shmipcSessions atomic.Int64

func shmipcConfig() *shmipc.Config {
	c := shmipc.DefaultConfig()
	c.MemMapType = shmipc.MemMapTypeMemFd
	c.LogOutput = io.Discard
	c.InitializeTimeout = startTimeout
	own := strconv.Itoa(os.Getpid()) + "_" + strconv.FormatInt(shmipcSessions.Add(1), 10) // or sessions of one process share their memory
	c.ShareMemoryPathPrefix += own
	c.QueuePath += own
	c.ShareMemoryBufferCap = 384 << 20
	c.BufferSliceSizes = []*shmipc.SizePercentPair{
		{Size: 8<<10 - 20, Percent: 1},
		{Size: 64<<10 + shmipcRoom, Percent: 1},
		{Size: 1<<20 + shmipcRoom, Percent: 5},
		{Size: shmipcSlice + shmipcRoom, Percent: 93},
	}
	return c
}

// shmipcWindow is how many one-way messages may be on their way: there is no flow control, and where no slice is free a message goes over the
// socket. There are 5 of the largest slices and 19 of the next ones, of which one is never used.
func shmipcWindow(n int) int {
	if n > 1<<20 {
		return 4
	}
	return 16
}

func shmipcServe(e *env) error {
	ln, err := listen(e, "unix")
	if err != nil {
		return err
	}
	e.ready(ln.Addr().String())
	return accept(ln, func(c net.Conn) {
		s, err := shmipc.Server(c, shmipcConfig())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		for {
			st, err := s.AcceptStream()
			if err != nil {
				return
			}
			go shmipcAnswer(st)
		}
	})
}

// shmipcAnswer answers the messages of one stream.
func shmipcAnswer(s *shmipc.Stream) {
	defer s.Close()
	var sum uint64
	for {
		b, kind, err := shmipcRead(s)
		if err != nil {
			return
		}
		switch kind {
		case shmipcEcho:
			err = shmipcWrite(s, b, kind)
		case shmipcSink, shmipcAsk:
			sum += touch(b)
		}
		s.BufferReader().ReleasePreviousRead() // its slice is free before anybody is told
		if kind == shmipcAsk {
			err = shmipcWrite(s, binary.LittleEndian.AppendUint64(nil, sum), kind)
		}
		if err != nil {
			return
		}
	}
}

func shmipcRead(s *shmipc.Stream) (b []byte, kind byte, err error) {
	r := s.BufferReader()
	head, err := r.ReadBytes(shmipcHead)
	if err != nil {
		return nil, 0, err
	}
	n := int(binary.LittleEndian.Uint32(head))
	kind = head[4]
	b, err = r.ReadBytes(n)
	return b, kind, err
}

func shmipcWrite(s *shmipc.Stream, b []byte, kind byte) error {
	m, err := s.BufferWriter().Reserve(shmipcHead + len(b)) // in one piece
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(m, uint32(len(b)))
	m[4] = kind
	copy(m[shmipcHead:], b)
	return s.Flush(false)
}

type shmipcClient struct{ m *shmipc.SessionManager }

func (c shmipcClient) close() error { return c.m.Close() }

func (c shmipcClient) caller() (caller, error) {
	s, err := c.m.GetStream()
	return &shmipcCaller{s}, err
}

func (c shmipcClient) stream(msg []byte, n int) error {
	s, err := c.m.GetStream()
	if err != nil {
		return err
	}
	defer s.Close()
	s.SetReadDeadline(time.Now().Add(stepTimeout))
	half, asked := shmipcWindow(len(msg))/2, 0
	answer := func() error {
		_, kind, err := shmipcRead(s)
		if err == nil && kind != shmipcAsk {
			err = errors.New("an answer to something else")
		}
		s.BufferReader().ReleasePreviousRead()
		asked--
		return err
	}
	for i := range n {
		kind := byte(shmipcSink)
		if i%half == half-1 || i == n-1 {
			kind = shmipcAsk
			asked++
		}
		if err := shmipcWrite(s, msg, kind); err != nil {
			return err
		}
		if asked > 1 {
			if err := answer(); err != nil {
				return err
			}
		}
	}
	for asked > 0 {
		if err := answer(); err != nil {
			return err
		}
	}
	return nil
}

type shmipcCaller struct{ s *shmipc.Stream }

func (k *shmipcCaller) call(req []byte) ([]byte, error) {
	k.s.ReleaseReadAndReuse() // what the last call returned
	if err := shmipcWrite(k.s, req, shmipcEcho); err != nil {
		return nil, err
	}
	b, _, err := shmipcRead(k.s)
	return b, err
}

func (k *shmipcCaller) close() error { return k.s.Close() }
