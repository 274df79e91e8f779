package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The matrix of doctor: set-ups that are broken for real, in folders of their own, with servers in processes of their own, and
// other users where the test runs as root. Where the remedy is a command, it is run, and doctor is asked again.

// Users and groups that nobody has.
const (
	alice, bob, carol uint32 = 640011, 640012, 640013
	crew              uint32 = 640014
)

// ward is where a set-up is made.
type ward struct {
	t   *testing.T
	dir string // everybody may look into it
	exe string
}

// report is what doctor --json prints.
type report struct {
	Verdict, Text string
	Code          int
	Evidence      []struct{ Key, Value string }
	Mend          []remedy
	all           string
}

func newWard(t *testing.T, exe string) *ward {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "spd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if os.Geteuid() != 0 { // what a test has closed to itself
			filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error { return os.Chmod(path, 0o700) })
		}
		os.RemoveAll(dir)
	})
	w := &ward{t: t, dir: dir, exe: exe}
	w.must(os.Chmod(dir, 0o755))
	return w
}

func (w *ward) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

func (w *ward) mkdir(mode os.FileMode, owner uint32, parts ...string) string {
	w.t.Helper()
	dir := w.path(parts...)
	w.must(os.Mkdir(dir, 0o700))
	if os.Geteuid() == 0 {
		w.must(os.Chown(dir, int(owner), int(owner)))
	}
	w.must(os.Chmod(dir, mode))
	return dir
}

// who runs a program.
type who struct {
	uid    uint32
	gid    uint32 // 0: as the uid
	groups []uint32
	run    string // XDG_RUNTIME_DIR; "": the ward's
	clone  uintptr
	guest  bool     // root in a user namespace of its own, where alice is root
	before []string // a program that starts it
}

// command is the program, as somebody.
func (w *ward) command(as who, args ...string) *exec.Cmd {
	cmd := exec.Command(w.exe, args...)
	if len(as.before) > 0 {
		cmd = exec.Command(as.before[0], append(append(as.before[1:], w.exe), args...)...)
	}
	cmd.Dir = w.dir
	run := as.run
	if run == "" {
		run = w.path("run")
	}
	cmd.Env = []string{"PATH=" + filepath.Dir(w.exe) + ":" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + run, "HOME=" + w.path("home"), "GORACE=atexit_sleep_ms=50"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: as.clone, Pdeathsig: syscall.SIGKILL}
	switch {
	case as.guest:
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.Credential = &syscall.Credential{NoSetGroups: true}
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(alice), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(alice), Size: 1}}
	case as.uid != 0:
		gid := as.gid
		if gid == 0 {
			gid = as.uid
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.uid, Gid: gid, Groups: as.groups}
	}
	return cmd
}

// serve starts the command's own server, and waits until it listens.
func (w *ward) serve(as who, args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := w.command(as, append([]string{"serve"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	w.t.Cleanup(func() { w.kill(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready ") {
		w.t.Fatalf("serve %v: %q, %v: %s", args, line, err, errs.String())
	}
	return cmd
}

func (w *ward) kill(cmd *exec.Cmd) {
	cmd.Process.Signal(syscall.SIGCONT)
	cmd.Process.Kill()
	cmd.Wait()
}

// listen is somebody else's server, in this process. It takes connections, where say is given, and says that.
func (w *ward) listen(path string, mode os.FileMode, owner uint32, say ...string) string {
	w.t.Helper()
	ln, err := net.Listen("unix", path)
	w.must(err)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	w.t.Cleanup(func() { ln.Close() })
	w.must(os.Chmod(path, mode))
	if os.Geteuid() == 0 && owner != 0 {
		w.must(os.Lchown(path, int(owner), int(owner)))
	}
	if say == nil {
		return path
	}
	go func() {
		var conns []net.Conn
		for {
			c, err := ln.Accept()
			if err != nil {
				break
			}
			io.WriteString(c, say[0])
			conns = append(conns, c)
		}
		for _, c := range conns {
			c.Close()
		}
	}()
	return path
}

// socket makes a bare one, bound to path.
func (w *ward) socket(kind int, path string, backlog int) int {
	w.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	w.must(err)
	w.t.Cleanup(func() { unix.Close(fd) })
	w.must(unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	if backlog >= 0 {
		w.must(unix.Listen(fd, backlog))
	}
	return fd
}

// dead is a socket whose server is gone.
func (w *ward) dead(path string) string {
	w.t.Helper()
	fd := w.socket(unix.SOCK_STREAM, path, 1)
	w.must(unix.Close(fd))
	return path
}

// acl gives a file entries beyond its mode, as setfacl(1) does, which need not be there.
func (w *ward) acl(path string, user uint32, perm, mask uint16, group, other uint16) {
	w.t.Helper()
	le := func(v uint64, n int) (b []byte) {
		for range n {
			b = append(b, byte(v))
			v >>= 8
		}
		return b
	}
	b := le(2, 4)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 7, ^uint32(0)}, {aclUser, perm, user}, {aclOwner, group, ^uint32(0)}, {aclMask, mask, ^uint32(0)}, {0x20, other, ^uint32(0)}} {
		b = append(append(append(b, le(uint64(e.tag), 2)...), le(uint64(e.perm), 2)...), le(uint64(e.id), 4)...)
	}
	if err := unix.Setxattr(path, "system.posix_acl_access", b, 0); err != nil {
		w.t.Skipf("LEFT OUT: this file system has no ACLs: %v", err)
	}
}

// doctor asks for the verdict.
func (w *ward) doctor(as who, args ...string) report {
	w.t.Helper()
	cmd := w.command(as, append([]string{"doctor", "--json"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var r report
	if jsonErr := json.Unmarshal(out, &r); jsonErr != nil || errs.Len() > 0 {
		w.t.Fatalf("doctor %v: %v, %v: %s%s", args, err, jsonErr, out, errs.String())
	}
	r.all = string(out)
	if code := cmd.ProcessState.ExitCode(); code != r.Code {
		w.t.Errorf("the exit code is %d, and the report says %d", code, r.Code)
	}
	return r
}

// heal runs the first remedy that begins with that command.
func (w *ward) heal(r report, begins string) {
	w.t.Helper()
	for _, m := range r.Mend {
		if strings.HasPrefix(m.Run, begins) {
			if out, err := exec.Command("sh", "-c", m.Run).CombinedOutput(); err != nil {
				w.t.Errorf("%s: %v: %s", m.Run, err, out)
			}
			return
		}
	}
	w.t.Errorf("no remedy begins with %q: %s", begins, r.all)
}

// ailing is one set-up.
type ailing struct {
	name   string
	root   bool // it needs other users
	as     who
	flags  []string
	set    func(w *ward) (target string)
	word   string
	code   int
	says   []string // what the report must say, somewhere
	heal   string   // the remedy to run, by how it begins
	healed string   // the verdict then
}

var (
	patiently = []string{"--timeout", "30s", "--quiet", "30s"}  // the server says something, or hangs up
	inVain    = []string{"--timeout", "3s", "--quiet", "50ms"}  // there is nothing to wait for
	calmly    = []string{"--timeout", "30s", "--quiet", "50ms"} // the server says nothing, but takes the connection
)

func TestDoctorMatrix(t *testing.T) {
	exe := doctorProgram(t)
	var cases []ailing
	for _, list := range [][]ailing{wellCases, pathCases, serverCases, folderCases, rightCases, peerCases} {
		cases = append(cases, list...)
	}
	if len(cases) < 40 {
		t.Errorf("only %d set-ups", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("LEFT OUT: this set-up needs other users, which only root can play")
			}
			w := newWard(t, exe)
			w.mkdir(0o700, c.as.uid, "run")
			target := c.set(w)
			r := w.doctor(c.as, append(c.flags, target)...)
			if r.Verdict != c.word || r.Code != c.code {
				t.Fatalf("the verdict is %s (%d), not %s (%d): %s", r.Verdict, r.Code, c.word, c.code, r.all)
			}
			for _, s := range c.says {
				if !strings.Contains(r.all, s) {
					t.Errorf("it does not say %q: %s", s, r.all)
				}
			}
			if c.code != exitOK && len(r.Mend) == 0 {
				t.Errorf("nothing mends it: %s", r.all)
			}
			if c.heal != "" {
				w.heal(r, c.heal)
				if r := w.doctor(c.as, append(c.flags, target)...); r.Verdict != c.healed {
					t.Errorf("mended, the verdict is %s, not %s: %s", r.Verdict, c.healed, r.all)
				}
			}
		})
	}
}

// doctorProgram is this test binary as the command, where every user may run it.
func doctorProgram(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "spx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	exe := filepath.Join(dir, "standpipe")
	if err == nil {
		err = os.WriteFile(exe, program, 0o755)
	}
	if err == nil {
		err = os.Chmod(exe, 0o755) // whatever the umask
	}
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// The group's name is in the database, but this session has not the group yet.
func TestDoctorOldSession(t *testing.T) {
	if os.Geteuid() != 0 || os.Getenv("STANDPIPE_TEST_USERS") != "1" {
		t.Skip("LEFT OUT: this makes a user and a group on this machine; as root, STANDPIPE_TEST_USERS=1 lets it")
	}
	const user, group = "sptest-d", "sptest-e"
	gone := func() {
		exec.Command("userdel", user).Run()
		exec.Command("groupdel", group).Run()
	}
	gone()
	t.Cleanup(gone)
	for _, cmd := range [][]string{
		{"groupadd", "--system", group},
		{"useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "--groups", group, user},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", cmd, err, out)
		}
	}
	w := newWard(t, doctorProgram(t))
	id := func(args ...string) uint32 {
		out, err := exec.Command("id", append(args, user)...).Output()
		w.must(err)
		var n uint32
		_, err = fmt.Sscan(string(out), &n)
		w.must(err)
		return n
	}
	me := who{uid: id("-u"), gid: id("-g")}
	w.mkdir(0o700, me.uid, "run")
	path := w.listen(w.path("docker.sock"), 0o660, 0, "")
	out, err := exec.Command("chgrp", group, path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := w.doctor(me, append(calmly, path)...)
	if r.Verdict != "old-session" || r.Code != exitDenied || !strings.Contains(r.all, "newgrp "+group) {
		t.Errorf("the verdict is %s", r.all)
	}
	if out, err := exec.Command("gpasswd", "-d", user, group).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r = w.doctor(me, append(calmly, path)...)
	if r.Verdict != "socket-denied" || !strings.Contains(r.all, "usermod -aG "+group+" "+user) {
		t.Errorf("without the group, the verdict is %s", r.all)
	}
}

// The verdict comes first, then the evidence, then the remedies; and the table of verdicts is whole.
func TestDoctorText(t *testing.T) {
	w := newWard(t, doctorProgram(t))
	w.mkdir(0o700, 0, "run")
	cmd := w.command(who{}, "doctor", w.path("none.sock"))
	out, _ := cmd.Output()
	lines := strings.Split(string(out), "\n")
	if cmd.ProcessState.ExitCode() != exitNoServer || !strings.HasPrefix(lines[0], "missing: ") || !strings.HasPrefix(lines[1], "  path: ") ||
		!strings.Contains(string(out), "\nmend: ") {
		t.Errorf("code %d:\n%s", cmd.ProcessState.ExitCode(), out)
	}
	_, help, _ := runHere(t, "", "help", "doctor")
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	w.must(err)
	for _, a := range ailments {
		line := fmt.Sprintf("  %-14s %d  %s\n", a.word, a.code, a.text)
		if !strings.Contains(help, "\n"+line) || !strings.Contains(string(docs), "\n  "+line) {
			t.Errorf("the help text or docs/cli.md lacks %q", line)
		}
	}
}

// Ctrl-C ends it, whatever it waits for.
func TestDoctorInterrupt(t *testing.T) {
	w := newWard(t, doctorProgram(t))
	path := w.listen(w.path("s"), 0o600, 0) // nobody accepts
	cmd := w.command(who{}, "doctor", "--timeout", "1h", "--quiet", "100ms", path)
	w.must(cmd.Start())
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	for deadline := time.Now().Add(30 * time.Second); pendingAt(t, path) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("it does not connect")
		}
		time.Sleep(time.Millisecond)
	}
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("the exit code is %d", code)
	}
}

func pendingAt(t *testing.T, path string) uint32 {
	t.Helper()
	f, err := inodeAt(path)
	if err != nil {
		t.Fatal(err)
	}
	return pending(path, f)
}

// Whatever the kernel answers, reading it ends well.
func FuzzSocketTable(f *testing.F) {
	entry := make([]byte, 16)
	entry[1], entry[2] = unix.SOCK_STREAM, diagListen
	f.Add(append(entry, 8, 0, diagName, 0, '/', 'x', 0, 0, 12, 0, diagFile, 0, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add(append(entry, 6, 0, diagName, 0, 0, 'x', 0, 0, 255, 255))
	f.Add(append(entry, 2, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := parseSocket(b); s != nil && s.path == "" {
			t.Error("an endpoint without a name")
		}
	})
}
