package standpipe_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/standpipe/standpipe"
)

// The matrix of users and groups: real processes of root, of two users, and of members of a group, try each other's
// endpoints. What must come out is worked out here by other means than the package's: from the words of the Policy, and
// from the mode bits that spec/policy.md promises.

// person is what a process runs as.
type person struct {
	name   string // as a Policy names the user
	uid    uint32
	gid    uint32
	groups []uint32
}

func (p person) in(gid uint32) bool { return p.gid == gid || slices.Contains(p.groups, gid) }

// village is the cast of the matrix, on a stage of its own.
type village struct {
	dir, exe        string
	root, a, b      person
	member, aMember person // b and a, each with the group
	group           string // as a Policy names it
	gid             uint32
	servers         []person
	clients         []person
	policies        []string
}

// TestUsers uses numbers that nobody has, and thus needs no accounts.
func TestUsers(t *testing.T) {
	needRoot(t)
	const a, b, g = 640001, 640002, 640003
	runMatrix(t, newVillage(t, person{"640001", a, a, nil}, person{"640002", b, b, nil}, "640003", g))
}

// TestUserNames makes two users and a group, since a Policy is about names most of the time.
func TestUserNames(t *testing.T) {
	needRoot(t)
	if os.Getenv("STANDPIPE_TEST_USERS") != "1" {
		t.Skip("LEFT OUT: this makes two users and a group on this machine; STANDPIPE_TEST_USERS=1 lets it")
	}
	a, b, group := "sptest-a", "sptest-b", "sptest-g"
	gone := func() {
		exec.Command("userdel", a).Run()
		exec.Command("userdel", b).Run()
		exec.Command("groupdel", group).Run()
	}
	gone()
	t.Cleanup(gone)
	// b is of the group by the database. What counts is the process's groups, and b's have it only where they are told to.
	for _, cmd := range [][]string{
		{"groupadd", "--system", group},
		{"useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", a},
		{"useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "--groups", group, b},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", cmd, err, out)
		}
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	runMatrix(t, newVillage(t, account(t, a), account(t, b), group, number(t, g.Gid)))
}

// needRoot: only root can play others.
func needRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("LEFT OUT: the matrix of users and groups needs root")
	}
}

func account(t *testing.T, name string) person {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return person{name, number(t, u.Uid), number(t, u.Gid), nil}
}

func number(t *testing.T, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func newVillage(t *testing.T, a, b person, group string, gid uint32) *village {
	t.Helper()
	v := &village{dir: openFolder(t), a: a, b: b, root: person{name: "0"}, group: group, gid: gid}
	v.member, v.aMember = b, a
	v.member.groups, v.aMember.groups = []uint32{gid}, []uint32{gid}
	v.servers = []person{v.root, v.a, v.aMember}
	v.clients = []person{v.root, v.a, v.b, v.member}
	v.policies = []string{
		"self", "user:0", "user:" + a.name, "user:" + b.name, "user:" + a.name + ",user:" + b.name, "anyone",
		"group:" + group, "self,group:" + group, "user:" + a.name + ",group:" + group, "user:" + b.name + ",group:" + group,
	}
	v.exe = filepath.Join(v.dir, "tests")
	copyProgram(t, v.exe)
	for _, p := range []person{v.a, v.b} {
		v.mkdir(t, v.home(p), p, 0o700)
	}
	return v
}

// openFolder is root's, and everybody may look into it.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "spu")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyProgram puts this test binary where others may run it.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, from)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(to, 0o755) // whatever the umask
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (v *village) home(p person) string { return filepath.Join(v.dir, fmt.Sprint("home-", p.uid)) }

// as starts a role as somebody, with the environment of a login.
func (v *village) as(t *testing.T, p person, role string, args ...string) *child {
	t.Helper()
	return spawn(t, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args[0], cmd.Dir = v.exe, v.exe, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.uid, Gid: p.gid, Groups: p.groups}}
		cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+v.home(p), "HOME="+v.home(p))
	}, role, args...)
}

// says is the first word of what the role says, and all of it.
func (v *village) says(t *testing.T, p person, role string, args ...string) (word, all string) {
	t.Helper()
	c := v.as(t, p, role, args...)
	all = c.line(t)
	c.kill()
	word, _, _ = strings.Cut(all, " ")
	return word, all
}

// admits is what a Policy's words mean, for a server that runs as me.
func (v *village) admits(policy string, me, p person) bool {
	for word := range strings.SplitSeq(policy, ",") {
		switch {
		case word == "anyone", word == "self" && p.uid == me.uid, word == "user:"+p.name, word == "group:"+v.group && p.in(v.gid):
			return true
		}
	}
	return false
}

// file is what spec/policy.md says becomes of the socket.
func (v *village) file(policy string, me person) (owner, group uint32, mode uint32) {
	var others []string
	grouped := false
	for word := range strings.SplitSeq(policy, ",") {
		switch {
		case word == "anyone":
			return me.uid, me.gid, 0o666
		case word == "group:"+v.group:
			grouped = true
		case word != "self" && word != "user:"+me.name:
			others = append(others, strings.TrimPrefix(word, "user:"))
		}
	}
	owner, group, mode = me.uid, me.gid, 0o600
	switch {
	case len(others) > 1, len(others) == 1 && me.uid != 0:
		return me.uid, me.gid, 0o666
	case len(others) == 1:
		owner = map[string]uint32{v.a.name: v.a.uid, v.b.name: v.b.uid}[others[0]]
	}
	if grouped {
		if me.uid != 0 && !me.in(v.gid) { // the file can't be given to the group
			return me.uid, me.gid, 0o666
		}
		group, mode = v.gid, 0o660
	}
	return owner, group, mode
}

// kernelLets is what path_resolution(7) and unix(7) make of the mode: connecting needs the right to write.
func kernelLets(p person, owner, group, mode uint32) bool {
	switch {
	case p.uid == 0:
		return true
	case p.uid == owner:
		return mode&0o200 != 0
	case p.in(group):
		return mode&0o020 != 0
	}
	return mode&0o002 != 0
}

func runMatrix(t *testing.T, v *village) {
	t.Run("path", func(t *testing.T) { v.paths(t) })
	t.Run("shared", func(t *testing.T) { v.shared(t) })
	t.Run("personal", func(t *testing.T) { v.personal(t) })
	t.Run("squatters", func(t *testing.T) { v.squatters(t) })
	t.Run("folders", func(t *testing.T) { v.folders(t) })
}

// try lets every client dial what server serves at name, and holds the outcome against the Policy and the mode.
func (v *village) try(t *testing.T, server person, name, path, policy string) {
	t.Helper()
	owner, group, mode := v.file(policy, server)
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Uid != owner || st.Gid != group || st.Mode&0o7777 != mode {
		t.Errorf("%s by %v: the socket is %d:%d %#o, want %d:%d %#o", policy, server, st.Uid, st.Gid, st.Mode&0o7777, owner, group, mode)
	}
	for _, client := range v.clients {
		want := "served"
		switch {
		case !kernelLets(client, owner, group, mode):
			want = "denied"
		case !v.admits(policy, server, client):
			want = "turned-away"
		}
		if got, all := v.says(t, client, "try", name, "user:"+server.name); got != want {
			t.Errorf("%s by %v, client %v: %s; want %s", policy, server, client, all, want)
		} else if want == "served" && all != fmt.Sprint("served by ", server.uid) {
			t.Errorf("%s by %v: %s", policy, server, all)
		}
		// The other direction: without a word about the server, it must be the client's own user or root.
		if want == "served" && server.uid != 0 && server.uid != client.uid {
			want = "wrong-server"
		} else if want == "turned-away" && server.uid != 0 && server.uid != client.uid {
			want = "wrong-server" // seen before the end of the connection is
		}
		if got, all := v.says(t, client, "try", name); got != want {
			t.Errorf("%s by %v, client %v without a Policy: %s; want %s", policy, server, client, all, want)
		}
	}
}

// paths: an absolute path in a folder of the server's that all can look into.
func (v *village) paths(t *testing.T) {
	for i, server := range v.servers {
		dir := filepath.Join(v.dir, fmt.Sprint("paths-", i))
		v.mkdir(t, dir, server, 0o755)
		for j, policy := range v.policies {
			path := filepath.Join(dir, fmt.Sprint(j))
			s := v.as(t, server, "serve", path, policy)
			if line := s.line(t); line != "ready" {
				t.Errorf("%s by %v: %s", policy, server, line)
				continue
			}
			v.try(t, server, path, path, policy)
			s.kill()
		}
	}
}

func (v *village) mkdir(t *testing.T, dir string, owner person, mode os.FileMode) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, int(owner.uid), int(owner.gid)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
}

// shared: root makes the folder; for others it must have been made.
func (v *village) shared(t *testing.T) {
	const all = "/run/standpipe"
	_, err := os.Lstat(all)
	made := os.IsNotExist(err)
	t.Cleanup(func() {
		if made {
			os.Remove(all)
		}
	})
	for i, server := range v.servers {
		name := fmt.Sprintf("sptest-%d-%d", os.Getpid(), i)
		dir := filepath.Join(all, name)
		t.Cleanup(func() { os.RemoveAll(dir) })
		if server.uid != 0 {
			if got, line := v.says(t, server, "serve", "shared:"+name); got != "denied" {
				t.Errorf("shared by %v, with nothing prepared: %s", server, line)
			}
			v.mkdir(t, dir, v.b, 0o755)
			if got, line := v.says(t, server, "serve", "shared:"+name); got != "denied" {
				t.Errorf("shared by %v, in another user's folder: %s", server, line)
			}
			if err := os.Chown(dir, int(server.uid), int(server.gid)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o775); err != nil {
				t.Fatal(err)
			}
			if got, line := v.says(t, server, "serve", "shared:"+name); got != "denied" {
				t.Errorf("shared by %v, in a folder that its group can write to: %s", server, line)
			}
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, policy := range v.policies {
			s := v.as(t, server, "serve", "shared:"+name, policy)
			if line := s.line(t); line != "ready" {
				t.Errorf("%s by %v: %s", policy, server, line)
				continue
			}
			v.try(t, server, "shared:"+name, filepath.Join(dir, "sock"), policy)
			s.kill() // the next one finds what it left
		}
	}
	if fi, err := os.Lstat(all); err != nil || fi.Mode() != os.ModeDir|0o755 {
		t.Errorf("%s: %v, %v", all, fi, err)
	}
}

// personal: the same name is another endpoint for each user, and others can't reach it by its path either.
func (v *village) personal(t *testing.T) {
	name := fmt.Sprint("sptest-", os.Getpid())
	s := v.as(t, v.a, "serve", name)
	if line := s.line(t); line != "ready" {
		t.Fatal(line)
	}
	path := filepath.Join(v.home(v.a), "standpipe", name+".sock")
	for _, c := range []struct {
		client person
		name   string
		want   string
	}{
		{v.a, name, "served"}, {v.aMember, name, "served"}, {v.b, name, "no-server"}, {v.root, name, "no-server"},
		{v.a, path, "served"}, {v.b, path, "denied"}, {v.member, path, "denied"}, {v.root, path, "turned-away"},
	} {
		if got, line := v.says(t, c.client, "try", c.name, "user:"+v.a.name); got != c.want {
			t.Errorf("%s by %v: %s; want %s", c.name, c.client, line, c.want)
		}
	}
	if got, line := v.says(t, v.b, "serve", name); got != "ready" {
		t.Errorf("another user's server of the same name: %s", line)
	}
	for _, policy := range v.policies[1:] {
		want := "bad-name"
		if policy == "user:"+v.a.name {
			want = "in-use"
		}
		if got, line := v.says(t, v.a, "serve", name, policy); got != want {
			t.Errorf("a personal name with the policy %s: %s; want %s", policy, line, want)
		}
	}
}

// squatters: in a folder where everybody may make files, others are in the way at worst. They get no byte, and nobody's
// files are removed.
func (v *village) squatters(t *testing.T) {
	dir := filepath.Join(v.dir, "sticky")
	v.mkdir(t, dir, v.root, 0o777|os.ModeSticky)
	path := filepath.Join(dir, "x")
	squatter := v.as(t, v.b, "serve", path, "anyone")
	if line := squatter.line(t); line != "ready" {
		t.Fatal(line)
	}
	for _, p := range []person{v.a, v.root} {
		if got, line := v.says(t, p, "serve", path); got != "in-use" {
			t.Errorf("%v, where somebody else serves: %s", p, line)
		}
	}
	for _, p := range []person{v.a, v.root} {
		if got, line := v.says(t, p, "try", path); got != "wrong-server" {
			t.Errorf("%v dials the squatter: %s", p, line)
		}
	}
	squatter.kill() // it leaves a socket and a lock file, both b's
	for _, p := range []person{v.a, v.root} {
		if got, line := v.says(t, p, "serve", path); got != "in-use" {
			t.Errorf("%v, where somebody else's dead socket lies: %s", p, line)
		}
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []person{v.a, v.root} { // without its lock, the socket alone
		if got, line := v.says(t, p, "serve", path); got != "in-use" {
			t.Errorf("%v, where somebody else's dead socket lies alone: %s", p, line)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil || st.Uid != v.b.uid {
		t.Errorf("somebody else's socket was removed: %v", err)
	}
	if got, line := v.says(t, v.b, "serve", path); got != "ready" {
		t.Errorf("its owner takes it over: %s", line)
	}
}

// folders: an environment handed on by su or sudo leads nobody into another user's folder, and no server trusts a folder
// that somebody else could swap.
func (v *village) folders(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", v.home(v.a)) // root, with a's environment
	t.Setenv("HOME", filepath.Join(v.dir, "home-root"))
	addr, err := standpipe.ParseAddr("x")
	if err != nil || strings.HasPrefix(addr.String(), v.home(v.a)) {
		t.Errorf("root, with another user's XDG_RUNTIME_DIR, serves at %v, %v", addr, err)
	}
	path := filepath.Join(v.home(v.a), "x.sock")
	if got, line := v.says(t, v.root, "serve", path); got != "denied" {
		t.Errorf("root, in a folder of another user: %s", line)
	}
	dir := filepath.Join(v.dir, "grouped")
	v.mkdir(t, dir, person{gid: v.gid}, 0o775)
	if got, line := v.says(t, v.root, "serve", filepath.Join(dir, "x.sock")); got != "denied" {
		t.Errorf("root, in a folder that a group may write to: %s", line)
	}
	if got, line := v.says(t, v.a, "serve", filepath.Join(v.dir, "x.sock")); got != "denied" {
		t.Errorf("a user, where it may not make files: %s", line)
	}
}
