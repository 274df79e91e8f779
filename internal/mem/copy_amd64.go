//go:build !race

package mem

import "golang.org/x/sys/cpu"

var moves = cpu.X86.HasERMS

// move copies n bytes by REP MOVSB.
//
//go:noescape
func move(to, from *byte, n int)
