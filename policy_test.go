package standpipe_test

import (
	"strings"
	"testing"

	"github.com/standpipe/standpipe"
)

func TestPolicyText(t *testing.T) {
	for text, want := range map[string]string{
		"self": "self", "anyone": "anyone", "user:alice": "user:alice", "group:video": "group:video",
		" user:alice , group:video,self ": "self,user:alice,group:video", "self,anyone": "anyone,self",
		`user:DOMAIN\alice`: `user:DOMAIN\alice`, "user:S-1-5-18": "user:S-1-5-18", "user:a:b": "user:a:b", "user:two words": "user:two words",
	} {
		p, err := standpipe.ParsePolicy(text)
		if err != nil || p.String() != want {
			t.Errorf("%q: %q, %v; want %q", text, p, err, want)
		}
	}
	for _, text := range []string{"", ",", "self,", "Self", "user:", "user", "group:", "alice", "users:alice", "self self"} {
		if p, err := standpipe.ParsePolicy(text); err == nil || !strings.Contains(err.Error(), "user:NAME") {
			t.Errorf("%q is taken for %q, %v", text, p, err)
		}
	}
	if s := (standpipe.Policy{}).String(); s != "self" {
		t.Errorf("the zero Policy is %q", s)
	}
}

func TestPolicyOr(t *testing.T) {
	for want, p := range map[string]standpipe.Policy{
		"user:a,user:b,group:c": standpipe.User("a").Or(standpipe.User("b")).Or(standpipe.Group("c")),
		"self,user:a":           standpipe.User("a").Or(standpipe.Policy{}),
		"anyone,user:a":         standpipe.Anyone().Or(standpipe.User("a")),
	} {
		if p.String() != want {
			t.Errorf("%q, want %q", p, want)
		}
	}
	// It is a value: what is made of it, and of its arguments, does not change it.
	names := []string{"a"}
	p := standpipe.User(names...)
	names[0] = "b"
	one, two := p.Or(standpipe.User("c")), p.Or(standpipe.User("d"))
	if p.String() != "user:a" || one.String() != "user:a,user:c" || two.String() != "user:a,user:d" {
		t.Errorf("%q, %q, %q", p, one, two)
	}
}

// TestPolicyAdmits: by ids; spec/vectors/policy has the rest.
func TestPolicyAdmits(t *testing.T) {
	stranger := standpipe.Identity{PID: 1, User: strangerID, Groups: []string{strangerID}}
	for _, c := range []struct {
		p      standpipe.Policy
		id     standpipe.Identity
		admits bool
	}{
		{standpipe.Policy{}, stranger, false},
		{standpipe.Anyone(), stranger, true},
		{standpipe.Anyone(), standpipe.Identity{PID: 1}, false}, // the kernel did not say who
		{standpipe.User(strangerID), stranger, true},
		{standpipe.User("no such user here"), stranger, false},
		{standpipe.User("no such user here").Or(standpipe.User(strangerID)), stranger, true},
		{standpipe.Group(strangerID), standpipe.Identity{User: "x", Groups: []string{"y", strangerID}}, true},
		{standpipe.Group(strangerID), standpipe.Identity{User: "x", Groups: []string{"y"}}, false},
		{standpipe.User(strangerID), standpipe.Identity{User: "x", Groups: []string{strangerID}}, false},
	} {
		if c.p.Admits(c.id) != c.admits {
			t.Errorf("%q and %v: %v, want %v", c.p, c.id, !c.admits, c.admits)
		}
	}
}

// FuzzParsePolicy: what is taken is written back the same.
func FuzzParsePolicy(f *testing.F) {
	for _, s := range []string{"self", "anyone", "user:alice,group:video", " self ,user:a:b", ",", "user:", `user:D\a`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := standpipe.ParsePolicy(text)
		if err != nil {
			return
		}
		again, err := standpipe.ParsePolicy(p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q is %q, which is %q, %v", text, p, again, err)
		}
	})
}
