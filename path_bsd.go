//go:build unix && !linux

package standpipe

const (
	maxPath   = 103 // sun_path has 104, with a zero: unix(4)
	sharedDir = "/var/run/standpipe"
)

func systemRuntimeDir() string { return "" }

func checkAbstract(string) error {
	return &fault{kind: ErrBadName, detail: "abstract sockets are Linux's alone"}
}
