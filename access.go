package standpipe

import (
	"slices"
	"strings"
)

// What a Policy means to the kernel. Both compilers are pure and built everywhere, so that the vectors of
// spec/vectors/policy hold them to spec/policy.md on every system.

// clientAccess is what a client of a Windows pipe asks for, and all it is granted: FILE_GENERIC_READ and
// FILE_GENERIC_WRITE without FILE_APPEND_DATA, which on a pipe is FILE_CREATE_PIPE_INSTANCE: whoever has it can add an
// instance of the pipe and play server.
const clientAccess = 0x0012019b

// unixAccess is what becomes of a socket file.
type unixAccess struct {
	owner string // uid
	group string // gid; "" leaves it
	mode  uint32
}

// unix compiles g for a server that runs as me (an uid). What mode bits can't say is left to the check of the
// Identity: then the file lets everybody connect.
func (g *guard) unix(me string) unixAccess {
	var others []string
	for _, u := range g.users {
		if u != me && !slices.Contains(others, u) {
			others = append(others, u)
		}
	}
	var groups []string
	for _, x := range g.groups {
		if !slices.Contains(groups, x) {
			groups = append(groups, x)
		}
	}
	a := unixAccess{owner: me, mode: 0o600}
	switch {
	case g.anyone, len(groups) > 1, len(others) > 1, len(others) == 1 && me != "0":
		a.mode = 0o666
		return a
	case len(others) == 1: // only the superuser can give a file away, and may still open it then
		a.owner = others[0]
	}
	if len(groups) == 1 {
		a.group, a.mode = groups[0], 0o660
	}
	return a
}

// sddl compiles g for a server that runs as me (a SID): an explicit owner, whom clients compare with whom they expect,
// and a protected DACL that denies remote logons first and grants clients no more than clientAccess. The owner itself
// needs everything, for its further instances.
func (g *guard) sddl(me string) string {
	var b strings.Builder
	b.WriteString("O:" + me + "D:P(D;;FA;;;NU)(A;;FA;;;" + me + ")")
	var done []string
	grant := func(sid string) {
		if sid != me && !slices.Contains(done, sid) {
			done = append(done, sid)
			b.WriteString("(A;;0x12019b;;;" + sid + ")")
		}
	}
	if g.anyone {
		grant("WD")
		return b.String()
	}
	for _, u := range g.users {
		grant(u)
	}
	for _, x := range g.groups {
		grant(x)
	}
	return b.String()
}
