package standpipe

import "strings"

// maxName is the longest name, in bytes, without "shared:". spec/address.md says why.
const maxName = 128

const sharedPrefix = "shared:"

// An Addr says where an endpoint lives. It is comparable, and implements net.Addr; two Addrs are equal where they
// lead to the same endpoint by the same kind of name. Make one with ParseAddr.
type Addr struct {
	name string // canonical: "calc", "shared:calc", or the path as it was given
	path string // what the kernel is asked for
}

// ParseAddr says where the endpoint called name lives. It looks nothing up: whether somebody listens is seen by Dial.
//
//   - "calc" is this user's own: 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first and no '.' last.
//     Case does not count, since Windows ignores it: "Calc" is "calc".
//   - "shared:calc" is the machine's, for services that several users reach. Only root or an administrator may make
//     one, or prepare the place for somebody else, so that nobody can plant a false one.
//   - An absolute path of a Unix socket, a \\.\pipe\ path on Windows and "@name" (Linux's abstract sockets) are taken as
//     they stand.
//
// spec/address.md has the places. The error is ErrBadName, or ErrNameTooLong where the path behind the name is longer
// than the system allows.
func ParseAddr(name string) (Addr, error) {
	a, err := parseAddr(name)
	if err != nil {
		return Addr{}, opError("parse", Addr{name: name, path: name}, err)
	}
	return a, nil
}

func parseAddr(name string) (Addr, error) {
	if name == "" {
		return Addr{}, &fault{kind: ErrBadName, detail: "it is empty"}
	}
	if isPath(name) {
		path, err := rawPath(name)
		return Addr{name: name, path: path}, err
	}
	bare, shared := strings.CutPrefix(name, sharedPrefix)
	if err := checkName(bare); err != nil {
		return Addr{}, err
	}
	bare = lower(bare)
	if shared {
		path, err := sharedPath(bare)
		return Addr{name: sharedPrefix + bare, path: path}, err
	}
	path, err := userPath(bare)
	return Addr{name: bare, path: path}, err
}

// Network is "unix", or "pipe" on Windows.
func (a Addr) Network() string { return network }

// String is the path of the endpoint. Dial takes it as well as the name.
func (a Addr) String() string { return a.path }

// Name is what the endpoint is called: "calc", "shared:calc", or the path it was made with.
func (a Addr) Name() string { return a.name }

// personal: a name of this user's, which others can't reach by the same name.
func (a Addr) personal() bool { return !isPath(a.name) && !strings.HasPrefix(a.name, sharedPrefix) }

// checkName holds a name against the grammar of spec/address.md, which is the same on every system.
func checkName(s string) error {
	bad := func(why string) error { return &fault{kind: ErrBadName, detail: why} }
	switch {
	case s == "":
		return bad(`nothing follows "shared:"`)
	case len(s) > maxName:
		return &fault{kind: ErrNameTooLong, detail: "a name has at most 128 bytes"}
	case strings.ContainsAny(s, `/\`):
		return bad("a name has no / or \\; a path must be absolute")
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		case i == 0:
			return bad("it must begin with a letter or a digit")
		default:
			return bad("only letters, digits, '.', '_' and '-' may be used")
		}
	}
	if s[len(s)-1] == '.' {
		return bad("it must not end with a dot")
	}
	return nil
}

// lower folds ASCII only: the grammar has nothing else.
func lower(s string) string { return strings.ToLower(s) }
