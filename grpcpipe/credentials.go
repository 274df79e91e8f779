package grpcpipe

import (
	"context"
	"errors"
	"net"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/rpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// AuthInfo tells who is at the other end. It is what peer.FromContext has in a handler, and what grpc.Peer brings.
type AuthInfo struct {
	credentials.CommonAuthInfo
	Identity standpipe.Identity
}

// AuthType is "standpipe".
func (AuthInfo) AuthType() string { return "standpipe" }

func authInfo(id standpipe.Identity) AuthInfo {
	// A local connection is as private as the machine: nobody listens, and the kernel vouches for the peer.
	return AuthInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, id}
}

// peerOf is p as gRPC has it. Where the connection does not tell who is there, such as TCP, it has no AuthInfo.
func peerOf(p *rpc.Peer) *peer.Peer {
	c := p.Conn()
	got := &peer.Peer{Addr: c.RemoteAddr(), LocalAddr: c.LocalAddr()}
	if c, ok := c.(identified); ok {
		got.AuthInfo = authInfo(c.Identity())
	}
	return got
}

type identified interface{ Identity() standpipe.Identity }

// NewCredentials makes the credentials for grpc-go itself over standpipe's connections: grpc.Creds at the server, whose listener is
// standpipe.Listen's, and grpc.WithTransportCredentials at the client, whose grpc.WithContextDialer calls standpipe.Dial. Handlers find an [AuthInfo] by
// peer.FromContext. A connection that does not tell who is at its other end is refused.
func NewCredentials() credentials.TransportCredentials { return creds{} }

type creds struct{}

var errNotOurs = errors.New("grpcpipe: the connection is not standpipe's: it does not tell who is at the other end")

func (creds) handshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c, ok := c.(identified); ok {
		return c.(net.Conn), authInfo(c.Identity()), nil
	}
	return nil, nil, errNotOurs
}

func (cr creds) ClientHandshake(_ context.Context, _ string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return cr.handshake(c)
}

func (cr creds) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return cr.handshake(c)
}

func (creds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "standpipe"}
}

func (cr creds) Clone() credentials.TransportCredentials { return cr }

func (creds) OverrideServerName(string) error { return nil }
