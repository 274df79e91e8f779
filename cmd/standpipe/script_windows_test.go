package main

import (
	"crypto/rand"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/windows"
)

// setupScript gives the script a prefix of its own: pipes have one name space.
func setupScript(env *testscript.Env) error {
	env.Setenv("N", "t-"+strings.ToLower(rand.Text()[:8])+"-")
	env.Setenv("OTHER", "user:S-1-5-19") // somebody else
	for _, name := range []string{"SystemRoot", "USERPROFILE", "LOCALAPPDATA", "windir"} {
		env.Setenv(name, os.Getenv(name))
	}
	return nil
}

// mayNotList: Wine has no way to list pipes. Windows has.
func mayNotList() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// mayNotUDP: Wine lacks a setting that Go asks of each UDP socket (SIO_UDP_NETRESET). Windows has it.
func mayNotUDP() bool { return mayNotList() }

// interrupt: a console's Ctrl-C goes to all of its programs, the tests among them.
func interrupt(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("interrupt is for other systems")
}
