package standpipe_test

import "golang.org/x/sys/windows"

// What this system has, so that a test fails where something is missing that should be there.

var (
	connDiffers     = []string{"CloseWrite"} // pipes have no half-close
	listenerDiffers []string
	// Wine can't list its pipes.
	listWorks = windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() != nil
)

const (
	programWorks = true
	messagesWork = true

	strangerID = "S-1-5-19" // LOCAL SERVICE

	// A client of bytes may read messages. And Wine keeps messages in every pipe that rejects remote clients, so that a
	// client of messages finds what it wants; TestMessagesMismatch has a server of another kind.
	mismatchSeen = false
)

// systems are the words of spec/vectors/address for this one.
var systems = []string{"windows"}
