package main

import (
	"net"
	"net/rpc"
)

func init() {
	register(contender{name: "net/rpc", group: peers, over: "unix",
		note:  "the standard library, gob; one way by calls with an empty result, 4 in flight",
		serve: netRPCServe,
		dial: func(e *env) (client, error) {
			c, err := net.Dial("unix", e.addr)
			if err != nil {
				return nil, err
			}
			return netRPCClient{rpc.NewClient(c)}, nil
		}})
}

func netRPCServe(e *env) error {
	s := rpc.NewServer()
	if err := s.RegisterName("Bench", netRPCService{}); err != nil {
		return err
	}
	ln, err := listen(e, "unix")
	if err != nil {
		return err
	}
	e.ready(e.socket())
	return accept(ln, func(c net.Conn) { s.ServeConn(c) })
}

// NetRPCMessage and NetRPCSum are exported because net/rpc wants it.
type (
	NetRPCMessage struct{ Data []byte }
	NetRPCSum     struct{ Sum uint64 }
)

type netRPCService struct{}

func (netRPCService) Echo(in *NetRPCMessage, out *NetRPCMessage) error {
	out.Data = in.Data
	return nil
}

func (netRPCService) Put(in *NetRPCMessage, out *NetRPCSum) error {
	out.Sum = touch(in.Data)
	return nil
}

type netRPCClient struct{ c *rpc.Client }

func (c netRPCClient) caller() (caller, error) { return netRPCCaller(c), nil }
func (c netRPCClient) close() error            { return c.c.Close() }

type netRPCCaller struct{ c *rpc.Client }

func (k netRPCCaller) call(req []byte) ([]byte, error) {
	var r NetRPCMessage
	err := k.c.Call("Bench.Echo", &NetRPCMessage{req}, &r)
	return r.Data, err
}

func (k netRPCCaller) put(msg []byte) error {
	return k.c.Call("Bench.Put", &NetRPCMessage{msg}, &NetRPCSum{})
}
