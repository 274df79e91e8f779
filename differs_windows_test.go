package standpipe_test

// What this system has, so that a test fails where something is missing that should be there.

var (
	connDiffers     = []string{"CloseWrite"} // pipes have no half-close
	listenerDiffers []string
)

const (
	programWorks = true
	messagesWork = true
	listWorks    = false // Wine can't list its pipes

	strangerID        = "S-1-5-19" // LOCAL SERVICE
	bytesFromMessages = true       // a client of bytes may read messages
)
