// Package standpipe connects two programs on one machine: through named pipes on Windows, and Unix domain sockets
// elsewhere, behind one API. It needs no port and no firewall rule, and lets in only the users that it should.
//
// A server listens on a name, and accepts connections. They are net.Listener and net.Conn, so that net/http, gRPC and
// whatever else takes those runs on them:
//
//	ln, err := standpipe.Listen("engine", nil)
//	...
//	conn, err := ln.Accept()
//
// A client dials the same name. The context bounds the whole of it:
//
//	conn, err := standpipe.Dial(ctx, "engine", nil)
//
// Each side knows who is at the other end, before the first byte, because the kernel says so:
//
//	fmt.Println(conn.Identity()) // user 1000 (alice), pid 4711
//
// By default that is this user's own programs only. A [Policy] admits others, by user or group name; a service that
// several users reach has a "shared:" name:
//
//	ln, err := standpipe.Listen("shared:printer", &standpipe.ListenConfig{
//		Policy: standpipe.User("alice").Or(standpipe.Group("lp")),
//	})
//
// And a client says by whom it wants to be served; by default by its own user or the superuser:
//
//	conn, err := standpipe.Dial(ctx, "shared:printer", &standpipe.DialConfig{Policy: standpipe.User("printd")})
//
// What goes wrong has a name: [ErrNoServer], [ErrInUse], [ErrDenied] and their like, inside a *net.OpError whose text says
// what was found and what to do.
//
// Messages are the business of package msg, calls of package rpc; both run over any net.Conn.
//
// What is enforced where, and how it was tested, is in docs/platforms.md; the places behind the names are in
// spec/address.md, the meaning of a policy in spec/policy.md.
package standpipe
