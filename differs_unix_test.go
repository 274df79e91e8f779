//go:build unix

package standpipe_test

// What this system has, so that a test fails where something is missing that should be there.

var connDiffers []string // cases of pipetest.TestConn

var listenerDiffers []string

const (
	strangerID   = "65533"
	mismatchSeen = true
)
