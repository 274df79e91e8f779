//go:build amd64 || arm64

package ring

// pause tells the processor that this is a loop that waits.
//
//go:noescape
func pause()
