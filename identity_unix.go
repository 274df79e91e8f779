//go:build unix

package standpipe

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
)

func currentUser() string { return strconv.Itoa(os.Geteuid()) }

func superuser() Policy { return User("0") }

// lookupUser finds the uid of a name, or takes a number as it is, as chown does.
func lookupUser(name string) (string, error) {
	if u, err := user.Lookup(name); err == nil {
		return u.Uid, nil
	}
	if id, ok := numericID(name); ok {
		return id, nil
	}
	return "", fmt.Errorf("there is no user %q on this machine", name)
}

func lookupGroup(name string) (string, error) {
	if g, err := user.LookupGroup(name); err == nil {
		return g.Gid, nil
	}
	if id, ok := numericID(name); ok {
		return id, nil
	}
	return "", fmt.Errorf("there is no group %q on this machine", name)
}

// numericID is a uid or gid without needless zeros.
func numericID(s string) (string, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return strconv.FormatUint(n, 10), err == nil && n != 1<<32-1 // that one means "no change" to chown(2)
}

func userName(id string) string {
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return ""
}

func ownIdentity() (Identity, error) {
	list, err := os.Getgroups()
	if err != nil {
		return Identity{}, err
	}
	groups := make([]uint32, len(list))
	for i, g := range list {
		groups[i] = uint32(g)
	}
	return identityOf(os.Getpid(), uint32(os.Geteuid()), uint32(os.Getegid()), groups), nil
}

// identityOf makes an Identity of what the kernel said.
func identityOf(pid int, uid, gid uint32, groups []uint32) Identity {
	id := Identity{PID: pid, User: strconv.FormatUint(uint64(uid), 10), Groups: []string{strconv.FormatUint(uint64(gid), 10)}}
	for _, g := range groups {
		if s := strconv.FormatUint(uint64(g), 10); !slices.Contains(id.Groups, s) {
			id.Groups = append(id.Groups, s)
		}
	}
	return id
}
