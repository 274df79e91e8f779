//go:build unix

package standpipe

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// list looks at the folders. Whether an endpoint is served is seen by its lock, which costs its server nothing, and where
// that is another user's, by a connection that is hung up at once.
func list() ([]Addr, error) {
	var found []Addr
	dir, err := userDir()
	if err != nil {
		return nil, err
	}
	for _, path := range glob(dir, "*"+socketSuffix) {
		base := strings.TrimSuffix(filepath.Base(path), socketSuffix)
		note, served, err := lookAt(lockOf(path))
		if err != nil || !served {
			continue
		}
		if base[0] == '~' && shortened(note.name) == base {
			base = note.name
		}
		if checkName(base) == nil {
			found = append(found, Addr{name: lower(base), path: path})
		}
	}
	for _, path := range glob(sharedDir, filepath.Join("*", sharedSocket)) {
		bare := filepath.Base(filepath.Dir(path))
		_, served, err := lookAt(lockOf(path))
		if os.IsPermission(err) {
			served = probe(path, unix.SOCK_STREAM) == nil
		}
		if served && checkName(bare) == nil {
			found = append(found, Addr{name: sharedPrefix + bare, path: path})
		}
	}
	return found, nil
}

// glob does not take dir for a pattern.
func glob(dir, pattern string) []string {
	paths, _ := filepath.Glob(filepath.Join(escape(dir), pattern)) // its one error is a bad pattern
	return paths
}

func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// lookAt reads a lock file, and says whether somebody holds the lock.
func lookAt(lock string) (n note, held bool, err error) {
	f, err := openLock(lock, unix.O_RDONLY)
	if err != nil {
		return n, false, err
	}
	defer f.Close()
	n = readNote(f)
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	return n, errors.Is(err, unix.EWOULDBLOCK), nil
}
