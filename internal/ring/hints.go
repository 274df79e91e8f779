//go:build amd64 || arm64

package ring

// pause tells the processor that this is a loop that waits.
//
//go:noescape
func pause()

// claim tells the processor that the line of p is going to be written.
//
//go:noescape
func claim(p *byte)
