package standpipe

import (
	"fmt"
	"os"
)

const (
	maxPath   = 107 // sun_path has 108, with a zero: unix(7)
	sharedDir = "/run/standpipe"
)

// systemRuntimeDir is what XDG_RUNTIME_DIR is in a login session, for programs that have lost it (su, cron).
func systemRuntimeDir() string { return fmt.Sprintf("/run/user/%d", os.Geteuid()) }

// checkAbstract: an abstract name has the same room as a path, the first byte being zero.
func checkAbstract(name string) error {
	if name == "@" {
		return &fault{kind: ErrBadName, detail: "nothing follows the @"}
	}
	return checkLength(name)
}
