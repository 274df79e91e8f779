// Package msg sends messages over a connection: whole, in order, each up to a limit, with buffers beside them for bulk
// data.
//
//	ch := msg.New(conn, nil)
//	err := ch.Send(msg.Message{Data: []byte("hello")})
//	m, err := ch.Recv()
//
// Any net.Conn will do. Both ends must be Channels: they greet each other by a hello, which says the version of the wire
// and what each side takes at most. spec/wire.md has the bytes.
//
// Many goroutines may Send at once: what comes while a write is under way goes out together with the next one. A
// [Buffer] holds bulk data: it belongs to the peer once it was sent. Buffers are copied through the connection.
package msg
