package standpipe

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/windows"
)

// A server of another user, which a client's policy may admit, must not make the client take or close handles of its own.
func TestServerLies(t *testing.T) {
	const guests = "S-1-5-32-546"
	for _, tc := range []struct {
		owner  string
		values func(own uint64) []uint64
	}{
		{guests, func(own uint64) []uint64 { return []uint64{own} }},
		{guests, func(own uint64) []uint64 { return []uint64{0, own} }},
		{currentUser(), func(own uint64) []uint64 { return []uint64{0, own} }},
	} {
		path := freshName()
		h := rawServer(t, path, windows.PIPE_TYPE_BYTE, "O:"+tc.owner+"D:P(A;;FA;;;WD)")
		c, err := Dial(soon(t), path, &DialConfig{Policy: User(tc.owner)})
		if err != nil {
			t.Fatal(err)
		}
		mine, err := windows.CreateEvent(nil, 1, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		var n uint32
		if err := windows.WriteFile(h, rawFrame(1, tc.values(uint64(mine))...), &n, nil); err != nil {
			t.Fatal(err)
		}
		_, files, err := c.ReadHandles(make([]byte, 1))
		if err == nil || len(files) != 0 || tc.owner == guests && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("owner %s: %v, %v", tc.owner, files, err)
		}
		if err := windows.SetEvent(mine); err != nil {
			t.Errorf("owner %s: the client's own handle was closed: %v", tc.owner, err)
		}
		windows.CloseHandle(mine)
		c.Close()
		windows.CloseHandle(h)
	}
}

func TestNilFile(t *testing.T) {
	a, b, err := Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := a.WriteHandles([]byte("x"), f, nil); !errors.Is(err, os.ErrInvalid) {
		t.Error(err)
	}
}
