package standpipe

import (
	"errors"
	"strings"
	"testing"
)

func TestPipeNames(t *testing.T) {
	long := strings.Repeat("n", maxPipePath-len(pipeRoot))
	for _, name := range []string{
		"Calc", "a.b_c-9", `\\.\pipe\x`, `\\.\PIPE\x`, `\\.\pipe\standpipe-test\deep\er`, `\\.\pipe\_.x`, `\\.\pipe\` + long, strings.Repeat("n", 128),
	} {
		l, err := Listen(name, nil)
		if err != nil {
			t.Errorf("%.40q: %v", name, err)
			continue
		}
		for _, again := range []string{name, strings.ToUpper(name), l.Addr().String()} {
			c, err := Dial(soon(t), again, nil)
			if err != nil {
				t.Errorf("listening on %.40q, dial of %.40q: %v", name, again, err)
				continue
			}
			c.Close()
		}
		if _, err := Listen(strings.ToUpper(name), nil); !errors.Is(err, ErrInUse) {
			t.Errorf("%.40q in capitals is another name: %v", name, err)
		}
		l.Close()
	}
	for name, want := range map[string]error{
		`\\.\pipe\`:                ErrBadName, // the folder of all pipes
		`\\.\pipe`:                 ErrBadName,
		`\\.\pipe\a/b`:             ErrBadName,
		`\\.\pipe\trail.`:          ErrBadName,
		`\\.\pipe\trail `:          ErrBadName,
		`\\.\pipe\a\..\b`:          ErrBadName,
		`\\.\pipe\a.\b`:            ErrBadName,
		`\\.\pipe\trail\`:          ErrBadName,
		`\\.\pipe\a\\b`:            ErrBadName,
		`\\.\pipe\Ünïcode`:         ErrBadName,
		`\\.\pipe\x:y`:             ErrBadName,
		"\\\\.\\pipe\\nul\x00":     ErrBadName,
		`\\host\pipe\x`:            ErrBadName,
		`\\127.0.0.1\pipe\x`:       ErrBadName,
		`\\?\UNC\host\pipe\x`:      ErrBadName,
		`\x`:                       ErrBadName,
		`C:\x`:                     ErrBadName,
		`/tmp/x.sock`:              ErrBadName,
		`@abstract`:                ErrBadName,
		`\\.\pipe\` + long + "n":   ErrNameTooLong,
		strings.Repeat("n", 129):   ErrNameTooLong,
		"shared:":                  ErrBadName,
		"COM1:":                    ErrBadName,
		`shared:\\.\pipe\x`:        ErrBadName,
		`\\.\pipe\..\C$\Windows\x`: ErrBadName,
	} {
		if _, err := ParseAddr(name); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", name, err, want)
		}
		if l, err := Listen(name, nil); !errors.Is(err, want) {
			if err == nil {
				l.Close()
			}
			t.Errorf("listen %.40q: %v, want %v", name, err, want)
		}
	}
}

// TestPipePlaces holds the paths to spec/address.md.
func TestPipePlaces(t *testing.T) {
	for name, want := range map[string]string{
		"Calc":        `\\.\pipe\standpipe\` + currentUser() + `\calc`,
		"shared:Calc": `\\.\pipe\ProtectedPrefix\Administrators\standpipe\calc`,
	} {
		a, err := ParseAddr(name)
		if err != nil || a.String() != want || a.Network() != "pipe" {
			t.Errorf("%s: %v %v, want %s", name, a, err, want)
		}
		if back, ok := named(strings.ToUpper(a.String()[len(pipeRoot):])); !ok || back != a {
			t.Errorf("%s: found again as %v, %v", a, back, ok)
		}
	}
	for _, other := range []string{"x", `standpipe\S-1-5-99\calc`, `standpipe\` + currentUser(), `standpipe\` + currentUser() + `\a\b`} {
		if a, ok := named(other); ok {
			t.Errorf("%s is listed as %v", other, a)
		}
	}
}
