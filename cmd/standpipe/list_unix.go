//go:build unix

package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe"
)

// endpoints are those of this user and the machine's, and with all those of other programs, sorted.
func endpoints(all bool) ([]listed, error) {
	served, err := standpipe.List()
	if err != nil {
		return nil, err
	}
	table, err := openSockets()
	if all && err != nil {
		return nil, fmt.Errorf("other programs' sockets can't be listed here: %w", err)
	}
	pids := holders()
	var list []listed
	seen := map[string]bool{}
	add := func(e listed) {
		if !seen[e.Path] {
			seen[e.Path] = true
			list = append(list, look(e, table, pids))
		}
	}
	for _, a := range served {
		add(listed{Name: a.Name(), Path: a.String(), State: alive})
	}
	places, err := leftBehind()
	if err != nil {
		return nil, err
	}
	for _, e := range places {
		add(e)
	}
	for _, s := range table {
		if name := placed(s.path); s.open() && (all || name != "") {
			add(listed{Name: name, Path: s.path, State: alive, Kind: s.kind})
		}
	}
	slices.SortStableFunc(list, func(a, b listed) int {
		return cmp.Or(a.rank()-b.rank(), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path))
	})
	return list, nil
}

// rank is where in the list an endpoint stands: names before other programs' endpoints, and what is served before what
// was left behind.
func (e listed) rank() int {
	switch {
	case e.Name != "" && e.State == alive:
		return 0
	case e.Name != "":
		return 1
	}
	return 2
}

// open: one may connect to it, or send.
func (s *socket) open() bool { return s.listening || s.kind == "datagrams" }

// leftBehind are the sockets in the places of names, whether served or not.
func leftBehind() ([]listed, error) {
	var list []listed
	own, err := standpipe.ParseAddr("x")
	if err != nil {
		return nil, err
	}
	for _, path := range socketsIn(filepath.Dir(own.String())) {
		list = append(list, listed{Name: nameOf(path), Path: path, State: dead})
	}
	shared, err := standpipe.ParseAddr("shared:x")
	if err != nil {
		return nil, err
	}
	folders, _ := os.ReadDir(filepath.Dir(filepath.Dir(shared.String()))) // it may not be there
	for _, f := range folders {
		path := filepath.Join(filepath.Dir(filepath.Dir(shared.String())), f.Name(), filepath.Base(shared.String()))
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			list = append(list, listed{Name: "shared:" + f.Name(), Path: path, State: dead})
		}
	}
	return list, nil
}

func socketsIn(dir string) (paths []string) {
	files, _ := os.ReadDir(dir) // it may not be there
	for _, f := range files {
		if f.Type()&os.ModeSocket != 0 && strings.HasSuffix(f.Name(), ".sock") {
			paths = append(paths, filepath.Join(dir, f.Name()))
		}
	}
	return paths
}

// nameOf is the name of a personal endpoint. One that is too long for its folder has a short file, and stands whole in
// the lock file.
func nameOf(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".sock")
	if name[0] != '~' {
		return name
	}
	f, err := os.OpenFile(path+".lock", os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return name
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if whole, ok := strings.CutPrefix(sc.Text(), "name: "); ok {
			return whole
		}
	}
	return name
}

// placed is the name that a path stands for here: it lies where this user's names do.
func placed(path string) string {
	own, err := standpipe.ParseAddr("x")
	if err != nil || filepath.Dir(path) != filepath.Dir(own.String()) || ownName(path) == "" {
		return ""
	}
	return ownName(path)
}

// look fills in who made the endpoint, and who has it open.
func look(e listed, table sockets, pids map[uint32][]int) listed {
	e.Network = "unix"
	s := table.named(e.Path)
	if filepath.IsAbs(e.Path) { // or it is abstract, or of a folder that is not known
		f, err := inodeAt(e.Path)
		switch {
		case err == nil:
			s = table.at(e.Path, f)
			e.setOwner(f.uid)
			e.PID = lockHolder(e.Path+".lock", lockInode(e.Path))
		case os.IsNotExist(err):
			e.State = removed
		}
	}
	if s != nil {
		if e.State == dead && s.listening {
			e.State = alive // by a program that does not keep standpipe's lock
		}
		if e.Owner == "" && s.uidKnown {
			e.setOwner(s.uid)
		}
		if found := pids[s.inode]; e.PID == 0 && len(found) > 0 {
			e.PID = found[0]
		}
	}
	if e.PID != 0 {
		e.Program = programOf(e.PID)
	}
	return e
}

// lockInode is the lock file of the socket at path; a zero one where there is none, which nobody holds.
func lockInode(path string) inode {
	f, err := inodeAt(path + ".lock")
	if err != nil {
		return inode{}
	}
	return f
}

func (e *listed) setOwner(uid uint32) {
	e.Owner = strconv.FormatUint(uint64(uid), 10)
	if name := shortUser(uid); name != e.Owner {
		e.OwnerName = name
	}
}
