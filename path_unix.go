//go:build unix

package standpipe

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const network = "unix"

// Where sockets live. spec/address.md has the rules and their reasons.

const (
	socketSuffix = ".sock"
	lockSuffix   = ".lock"
	sharedSocket = "sock" // of a shared name, in its own folder
)

func isPath(name string) bool {
	return strings.HasPrefix(name, "/") || strings.HasPrefix(name, "@") || strings.ContainsRune(name, 0)
}

func rawPath(name string) (string, error) {
	switch {
	case strings.ContainsRune(name, 0):
		return name, &fault{kind: ErrBadName, detail: "it has a zero byte"}
	case name[0] == '@':
		return name, checkAbstract(name)
	case name[len(name)-1] == '/':
		return name, &fault{kind: ErrBadName, detail: "it is a folder's path"}
	case filepath.Clean(name) != name:
		return name, &fault{kind: ErrBadName, detail: fmt.Sprintf("a path must have no empty part, no . and no ..: %s", filepath.Clean(name))}
	}
	return name, checkLength(name)
}

// checkLength: sun_path has a fixed size, and systems differ in whether its last byte must be zero.
func checkLength(path string) error {
	if len(path) <= maxPath {
		return nil
	}
	return &fault{kind: ErrNameTooLong, detail: fmt.Sprintf("the path %q has %d bytes, and this system's sockets take %d; use a shorter folder", path, len(path), maxPath)}
}

// userPath is where this user's endpoint of that name is.
func userPath(bare string) (string, error) {
	dir, err := userDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, bare+socketSuffix)
	if len(path) > maxPath {
		path = filepath.Join(dir, shortened(bare)+socketSuffix)
	}
	return path, checkLength(path)
}

// shortened stands for a name that is too long with its folder. No name begins with '~'. List finds the whole name in
// the lock file.
func shortened(bare string) string {
	sum := sha256.Sum256([]byte(bare))
	return "~" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:26])
}

// userDir is the folder of this user's endpoints. All of the user's programs must find the same one, whatever their
// environment has, so far as that can be: sudo, for one, may leave the XDG_RUNTIME_DIR of another user.
func userDir() (string, error) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && !foreign(dir) {
		return filepath.Join(dir, "standpipe"), nil
	}
	if dir := systemRuntimeDir(); dir != "" && ownFolder(dir) == nil {
		return filepath.Join(dir, "standpipe"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", &fault{kind: ErrBadName, detail: "there is no folder for this user's endpoints: set XDG_RUNTIME_DIR or HOME", cause: err}
	}
	return filepath.Join(dir, "standpipe", "run"), nil
}

// foreign says whether the folder is there and belongs to somebody else.
func foreign(dir string) bool {
	fi, err := os.Stat(dir)
	return err == nil && int(fi.Sys().(*syscall.Stat_t).Uid) != os.Geteuid()
}

// sharedPath is where the machine's endpoint of that name is: in a folder of its own, which only root can make.
func sharedPath(bare string) (string, error) {
	path := filepath.Join(sharedDir, bare, sharedSocket)
	return path, checkLength(path)
}

// ownFolder says whether dir is a real folder, ours, and closed to others.
func ownFolder(dir string) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	refuse := func(what string) error {
		return &fault{kind: ErrDenied, detail: fmt.Sprintf("the folder %s %s; it must be a folder of user %s with mode 0700", dir, what, currentUser())}
	}
	switch {
	case !fi.IsDir():
		return refuse("is a " + kindOf(fi.Mode()))
	case int(st.Uid) != os.Geteuid():
		return refuse(fmt.Sprintf("belongs to user %d", st.Uid))
	case fi.Mode().Perm()&0o077 != 0:
		return refuse(fmt.Sprintf("has the mode %#o", fi.Mode().Perm()))
	}
	return nil
}

// makeFolder makes the folder of addr's socket, where that is ours to make, and refuses one that others could meddle with.
func makeFolder(addr Addr) error {
	dir := filepath.Dir(addr.path)
	switch {
	case addr.personal():
		// The folders above are made as the user's other programs would.
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return denied(err, "the folder for this user's endpoints can't be made")
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
			return denied(err, "the folder for this user's endpoints can't be made")
		}
		return ownFolder(dir)
	case strings.HasPrefix(addr.name, sharedPrefix):
		return makeSharedFolder(dir)
	}
	return nil
}

// makeSharedFolder: root makes both folders. Others need theirs to have been made for them, as systemd's
// RuntimeDirectory=standpipe/NAME does.
func makeSharedFolder(dir string) error {
	if os.Geteuid() == 0 {
		for _, d := range []string{sharedDir, dir} {
			if err := os.Mkdir(d, 0o755); err != nil && !os.IsExist(err) {
				return denied(err, "the folder for shared endpoints can't be made")
			} else if err == nil {
				if err := os.Chmod(d, 0o755); err != nil { // whatever the umask
					return err
				}
			}
		}
	}
	if err := safeFolder(sharedDir, 0); err != nil {
		return err
	}
	return safeFolder(dir, 0, os.Geteuid())
}

// safeFolder: only the owners that are named can make files in dir.
func safeFolder(dir string, owners ...int) error {
	fi, err := os.Lstat(dir)
	if os.IsNotExist(err) {
		return &fault{kind: ErrDenied, detail: fmt.Sprintf("the folder %s is not there; only root can make it, for a shared endpoint of its own or of another user (systemd: RuntimeDirectory=standpipe/NAME)", dir), cause: syscall.ENOENT}
	}
	if err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || fi.Mode().Perm()&0o022 != 0 || !slices.Contains(owners, int(st.Uid)) {
		return &fault{kind: ErrDenied, detail: fmt.Sprintf("%s is a %s of user %d with mode %#o; it must be a folder of root or of this user that nobody else can write to", dir, kindOf(fi.Mode()), st.Uid, fi.Mode().Perm())}
	}
	return nil
}

func denied(err error, what string) error {
	if os.IsPermission(err) {
		return &fault{kind: ErrDenied, detail: what, cause: err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func kindOf(m os.FileMode) string {
	switch {
	case m&os.ModeSymlink != 0:
		return "symbolic link"
	case m.IsDir():
		return "folder"
	case m&os.ModeSocket != 0:
		return "socket"
	case m.IsRegular():
		return "regular file"
	}
	return "special file"
}
