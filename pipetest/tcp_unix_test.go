//go:build unix

package pipetest

// TCP resets the connection of a client that was never accepted, and of one that closes with something unread.
var (
	tcpConnDiffers     = []string{"PeerEndsWrite"}
	tcpListenerDiffers = []string{"UnacceptedEnd"}
)
