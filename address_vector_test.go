package standpipe_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/standpipe/standpipe"
)

// TestAddressVectors: a name, and where it leads on this system, or the error.
func TestAddressVectors(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/nowhere/run")
	a, b, err := standpipe.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	me := a.Identity().User
	a.Close()
	b.Close()
	files, err := filepath.Glob("spec/vectors/address/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v := map[string]string{}
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": "); ok {
				v[key] = value
			}
		}
		var name, want string
		if err := json.Unmarshal([]byte(v["name"]), &name); err != nil {
			t.Fatal(file, err)
		}
		for _, s := range systems {
			if v[s] != "" {
				want = strings.ReplaceAll(v[s], "{sid}", me)
			}
		}
		addr, err := standpipe.ParseAddr(name)
		got, canonical := addr.String(), addr.Name()
		if err != nil {
			got, canonical = "error "+verdict(err), v["canonical"]
		}
		if want == "" || got != want || canonical != v["canonical"] {
			t.Errorf("%s: %q is %q at %q, %v; want %q", file, name, canonical, got, err, want)
		}
	}
}
