package standpipe

import (
	"fmt"
	"strings"
)

// Identity is who is at the other end, as the kernel vouches for it: of a client since it connected, of a server since
// it began to listen.
type Identity struct {
	// PID is the process, as seen from here; 0 where it is not visible, as from another container. It is for people
	// and logs. Never decide by it: the process may be gone, and its number another's.
	PID int
	// User is the effective uid in decimal, or the SID on Windows.
	User string
	// Groups are the process's groups: gids, the effective one first, or SIDs of enabled groups. For the server of a
	// Windows pipe they are not known.
	Groups []string
}

// String is for logs: `user 1000 (alice), pid 4711`.
func (id Identity) String() string {
	var b strings.Builder
	switch name := userName(id.User); {
	case id.User == "":
		b.WriteString("an unknown user")
	case name == "":
		fmt.Fprintf(&b, "user %s", id.User)
	default:
		fmt.Fprintf(&b, "user %s (%s)", id.User, name)
	}
	if id.PID != 0 {
		fmt.Fprintf(&b, ", pid %d", id.PID)
	}
	return b.String()
}
