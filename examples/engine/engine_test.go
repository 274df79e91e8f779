package main

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// engine starts engine.py with its models, and returns what it is served as.
func engine(t *testing.T) string {
	t.Helper()
	python := os.Getenv("STANDPIPE_ENGINE_PYTHON")
	if python == "" {
		t.Skip("NOT TESTED: STANDPIPE_ENGINE_PYTHON names no Python with the packages of requirements.txt; `make test-engine` makes one")
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // names of this test's own, where the system goes by that
	const name = "engine-test"
	server := exec.Command(python, "-X", "dev", "-W", "error", "engine.py", name)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	return name
}

// ask runs the front end, and returns what it prints.
func ask(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, append([]string{"-name", name, "-limit", "12"}, args...), &out); err != nil {
		t.Fatalf("%q: %v, and before that: %s", args, err, &out)
	}
	return out.String()
}

func TestEngine(t *testing.T) {
	name := engine(t)
	t.Run("embed", func(t *testing.T) {
		out := ask(t, name, "embed", "a cat sleeps on the sofa", "a kitten naps on the couch", "interest rates rise")
		var near []float64
		for _, number := range regexp.MustCompile(`(?m)^ *(-?[0-9.]+)`).FindAllString(out, -1) {
			n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if err != nil {
				t.Fatal(err)
			}
			near = append(near, n)
		}
		if len(near) != 3 || near[0] != 1 || near[1] < 0.4 || near[2] > 0.2 {
			t.Errorf("the model does not know what is near:\n%s", out)
		}
	})
	t.Run("generate", func(t *testing.T) {
		// What the model says is always the same, but for the last bits of sums, by which processors differ.
		if out := ask(t, name, "generate", "Why is the sky blue? Answer in one sentence."); !strings.Contains(out, "sky") || !strings.Contains(out, "(12 pieces, ") {
			t.Errorf("%q", out)
		}
	})
	t.Run("cancel", func(t *testing.T) { cancelled(t, name) })
	t.Run("image", func(t *testing.T) {
		out := ask(t, name, "image", picture(t))
		for _, line := range []string{"png, 640 x 480", "red .*10.000 to .*10.000, mean .*10.000, deviation .*0.000", "green .*0.000 to .*200.000, mean .*100.000"} {
			if !regexp.MustCompile(line).MatchString(out) {
				t.Errorf("no line %q in\n%s", line, out)
			}
		}
	})
	t.Run("tensor", func(t *testing.T) {
		if out := ask(t, name, "tensor", "64"); !regexp.MustCompile(`mean +(1.00|0.99)\d, deviation +(2.00|1.99)\d`).MatchString(out) {
			t.Error(out)
		}
	})
}

// picture writes one of 640 x 480, and returns its file: half of it has green.
func picture(t *testing.T) string {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 640, 480))
	for y := range 480 {
		for x := range 640 {
			m.SetNRGBA(x, y, color.NRGBA{10, uint8(x % 2 * 200), 0, 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "picture.png")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// afterFirst calls f when the first bytes are written.
type afterFirst struct {
	once sync.Once
	f    func()
	bytes.Buffer
}

func (w *afterFirst) Write(p []byte) (int, error) {
	w.once.Do(w.f)
	return w.Buffer.Write(p)
}

// Ctrl-C ends the context. The engine is free for others at once then, and does not go on to make 4000 tokens.
func cancelled(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out := &afterFirst{f: cancel}
	if err := run(ctx, []string{"-name", name, "-limit", "4000", "generate", "Count from 1 to 1000."}, out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "cancelled\n") {
		t.Errorf("%q", out)
	}
	began := time.Now()
	ask(t, name, "generate", "Say yes.")
	if took := time.Since(began); took > time.Minute {
		t.Errorf("another answer took %v: the engine still works for who has cancelled", took)
	}
}
