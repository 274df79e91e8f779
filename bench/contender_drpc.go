package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcmanager"
	"storj.io/drpc/drpcpool"
	"storj.io/drpc/drpcserver"
	"storj.io/drpc/drpcwire"
)

// DRPC makes one call at a time on a connection. Concurrent callers use its pool of connections, as its documentation says.

func init() {
	register(contender{name: "drpc", group: peers, over: "unix", modules: []string{"storj.io/drpc"}, shared: "drpcpool, a connection each",
		note:  "bytes as they are; one call at a time on a connection, so there is a pool; one way by client streaming",
		serve: drpcServe, dial: drpcDial})
}

var drpcOptions = drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: 128 << 20}}

func drpcServe(e *env) error {
	ln, err := listen(e, "unix")
	if err != nil {
		return err
	}
	e.ready(e.socket())
	return drpcserver.NewWithOptions(drpcHandler{}, drpcserver.Options{Manager: drpcOptions}).Serve(context.Background(), ln)
}

func drpcDial(e *env) (client, error) {
	pool := drpcpool.New[string, drpcpool.Conn](drpcpool.Options{})
	conn := pool.Get(context.Background(), e.addr, func(_ context.Context, addr string) (drpcpool.Conn, error) {
		c, err := net.Dial("unix", addr)
		if err != nil {
			return nil, err
		}
		return drpcconn.NewWithOptions(c, drpcconn.Options{Manager: drpcOptions}), nil
	})
	return drpcClient{pool, conn}, nil
}

// drpcBytes encodes *[]byte as it is.
type drpcBytes struct{}

func (drpcBytes) Marshal(m drpc.Message) ([]byte, error) { return *m.(*[]byte), nil }

func (drpcBytes) Unmarshal(b []byte, m drpc.Message) error {
	p := m.(*[]byte)
	*p = append((*p)[:0], b...)
	return nil
}

const (
	drpcEcho = "Echo"
	drpcSink = "Sink"
)

type drpcHandler struct{}

func (drpcHandler) HandleRPC(s drpc.Stream, method string) error {
	var b []byte
	if method == drpcEcho {
		if err := s.MsgRecv(&b, drpcBytes{}); err != nil {
			return err
		}
		return s.MsgSend(&b, drpcBytes{})
	}
	var sum uint64
	for {
		if err := s.MsgRecv(&b, drpcBytes{}); errors.Is(err, io.EOF) {
			answer := binary.LittleEndian.AppendUint64(nil, sum)
			return s.MsgSend(&answer, drpcBytes{})
		} else if err != nil {
			return err
		}
		sum += touch(b)
	}
}

type drpcClient struct {
	pool *drpcpool.Pool[string, drpcpool.Conn]
	conn drpc.Conn
}

func (c drpcClient) caller() (caller, error) { return &drpcCaller{conn: c.conn}, nil }
func (c drpcClient) close() error            { return c.pool.Close() }

func (c drpcClient) stream(msg []byte, n int) error {
	s, err := c.conn.NewStream(context.Background(), drpcSink, drpcBytes{})
	if err != nil {
		return err
	}
	defer s.Close()
	for range n {
		if err := s.MsgSend(&msg, drpcBytes{}); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	var sum []byte
	return s.MsgRecv(&sum, drpcBytes{})
}

type drpcCaller struct {
	conn drpc.Conn
	out  []byte
}

func (k *drpcCaller) call(req []byte) ([]byte, error) {
	err := k.conn.Invoke(context.Background(), drpcEcho, drpcBytes{}, &req, &k.out)
	return k.out, err
}
