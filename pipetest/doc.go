// Package pipetest tests connections and listeners: this module's own, and its users'. It has fresh names, connected
// pairs, a check for what tests leave behind, and the suites that every transport of this module passes.
//
//	func TestMain(m *testing.M) { pipetest.Main(m) }
//
//	func TestEcho(t *testing.T) {
//		server, client := pipetest.Pair(t, nil, nil)
//		...
//	}
//
// The suites take any net.Conn and net.Listener, so that a wrapper, or another transport, can be held against the same
// promises:
//
//	func TestWrapped(t *testing.T) {
//		pipetest.TestConn(t, func() (a, b net.Conn, stop func(), err error) { ... })
//	}
//
// A transport that keeps a promise less is flagged, not skipped: its caller names the cases in which it differs, and the
// suite fails if one of them passes after all.
package pipetest
