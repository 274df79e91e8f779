package standpipe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fields reads `key: value` lines; what comes more than once has several values.
func fields(text string) map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": "); ok {
			m[k] = append(m[k], v)
		}
	}
	return m
}

// TestPolicyVectors: text -> what the kernel gets -> who is admitted.
func TestPolicyVectors(t *testing.T) {
	files, err := filepath.Glob("spec/vectors/policy/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v := fields(string(b))
		server := v["server"][0]
		p, err := ParsePolicy(v["policy"][0])
		if err != nil {
			t.Fatal(file, err)
		}
		g := &guard{anyone: p.anyone, users: p.users, groups: p.groups}
		if p.self {
			g.users = append(g.users, server)
		}
		var access string
		var kernel func(user string, groups []string) bool
		switch v["system"][0] {
		case "unix":
			a := g.unix(server)
			group := a.group
			if group == "" {
				group = "-"
			}
			access = fmt.Sprintf("%s %s %#o", a.owner, group, a.mode)
			kernel = func(u string, gs []string) bool { return modeGrants(a, u, gs) }
		case "windows":
			access = g.sddl(server)
			kernel = func(u string, gs []string) bool {
				if u != server && sddlGrants(access, u, gs, 4) {
					t.Errorf("%s: %s may make instances", file, u)
				}
				return sddlGrants(access, u, gs, clientAccess)
			}
		default:
			t.Fatal(file, v["system"])
		}
		if access != v["access"][0] {
			t.Errorf("%s: %s\nwant %s", file, access, v["access"][0])
		}
		if len(v["client"]) == 0 {
			t.Errorf("%s has no client", file)
		}
		word := map[bool]string{true: "yes", false: "no"}
		for _, c := range v["client"] {
			f := strings.Fields(c)
			groups := strings.Split(f[1], ",")
			got := fmt.Sprintf("%s %s kernel:%s identity:%s", f[0], f[1], word[kernel(f[0], groups)], word[g.admits(Identity{User: f[0], Groups: groups})])
			if got != c {
				t.Errorf("%s: %s, want %s", file, got, c)
			}
		}
	}
}
