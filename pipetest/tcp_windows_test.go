package pipetest

// The codes of Winsock are not those of pipes, and a Read of nothing waits for something.
var (
	tcpConnDiffers     = []string{"PeerEndsWrite", "WriteToGone", "NoBytes", "CloseWrite"}
	tcpListenerDiffers = []string{"UnacceptedEnd"}
)
