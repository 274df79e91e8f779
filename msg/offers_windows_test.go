package msg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A client that has closed may have something else by the value that it announced, by the time the server takes it. What was sent counts all
// the same; what refers to the segment does not.
func TestOfferGone(t *testing.T) {
	for _, ring := range []bool{false, true} {
		a, b := sharers(t, nil)
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		value, err := a.sh.line.export(f)
		if err != nil {
			t.Fatal(err)
		}
		size := uint64(64 << 10)
		if ring {
			size += 4096
		}
		if err := a.w.announce(segmentFrame{number: 1, ring: ring, size: size, handle: value}, f); err != nil {
			t.Fatal(err)
		}
		if err := a.Send(Message{Data: []byte("hello")}); err != nil {
			t.Fatal(err)
		}
		if m, err := b.Recv(); err != nil || string(m.Data) != "hello" {
			t.Fatal(m, err)
		}
		refer(t, a, 1, 100)
		_, err = b.Recv()
		var pe *ProtocolError
		if !errors.As(err, &pe) || pe.Remote || !strings.Contains(pe.Text, "segment 1") {
			t.Error(err)
		}
	}
}
